"""Which slot does which piece of which clip next: a policy without clock, threads or files.

    fair        whose turn it is: fair queueing between classes of clips of like length
    row         what may be begun of one clip: a chain of finds, a window of restores
    stragglers  what takes too long, and whether doing it once more would be quicker
    scheduler   all of it together, with retries, losses and slots that are set aside

Times are arguments, in seconds of any clock that does not run backwards. Every call takes
O(log n) for n clips, and O(f) for f classes, of which there are as many as binary orders of
magnitude among the clips' numbers of pieces (about ten), times weights in use.
"""

from sorawm_pipeline.scheduling.row import STEPS, Step, Task
from sorawm_pipeline.scheduling.scheduler import Assignment, Ended, Limits, Scheduler, Statistics

__all__ = ["STEPS", "Assignment", "Ended", "Limits", "Scheduler", "Statistics", "Step", "Task"]
