"""`python -m sorawm_pipeline`."""

from sorawm_pipeline.cli import main

main()
