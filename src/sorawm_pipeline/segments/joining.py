"""The result from its pieces: packets are put one behind the other, none is encoded again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

from av.container import OutputContainer
from av.video.stream import VideoStream

from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.media.packet_store import stored_packets
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.timeline import Timeline
from sorawm_pipeline.segments.pieces import Restored
from sorawm_pipeline.segments.plan import Piece, decoding_times
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.stages.picture_encoder import PictureEncoder, true_tags
from sorawm_pipeline.stages.result_file import ResultFile
from sorawm_pipeline.stages.splice import Spliced, Splicer


def join(
    job: ClipJob, timeline: Timeline, store: Store, pieces: Iterable[tuple[Piece, str]]
) -> tuple[ResultFile, Spliced | None]:
    """Write the unpublished result; the source's other streams are copied beside the picture.

    Args:
        job: prepared.
        timeline: of its clip.
        store: where the pieces are.
        pieces: all of them in order, and their names.

    Returns:
        The closed file, and what was copied, where groups may be.

    Raises:
        OutputError: the disk refuses.
        DeviceError: the container refuses.
        Unfit: the pieces do not make one stream.
    """
    assert job.target is not None
    clip, limits, settings = job.clip, job.limits, job.settings
    restored = [(piece, name, _restored(store, name)) for piece, name in pieces]
    reorder = max((done.index.reorder for *_, done in restored), default=0)
    spliced = None
    if settings.gops is not None:
        reorder = max(reorder, settings.gops.reorder)
        spliced = Spliced(len(settings.gops.starts))
    written = 0
    with closing(ResultFile(clip, limits, job.target.temporary, settings)) as file:
        file.open(lambda output, tags: _add_picture(job, output, tags))
        with file.failures_told(lambda: written):
            for piece, name, done in restored:
                times = decoding_times(timeline, piece.first, piece.end, reorder)
                packets = stored_packets(store.packets(name), done.index, clip.time_base)
                for dts, (packet, copied) in zip(times, packets, strict=True):
                    if spliced is not None:
                        spliced.count(packet, copied=copied)
                    packet.dts = dts
                    file.mux(packet)
                    written += 1
            file.finish()
        if spliced is not None:
            spliced.check(job.target.temporary, file.track, limits)
    return file, spliced


def _restored(store: Store, name: str) -> Restored:
    done = store.get(name)
    if not isinstance(done, Restored):
        raise Unfit(f"the piece {name} has disappeared")
    return done


def _add_picture(job: ClipJob, output: OutputContainer, tags: Mapping[str, str]) -> VideoStream:
    """A stream with the header that the pieces' packets need."""
    pictures = PictureEncoder(job.clip, job.settings)
    gops = job.settings.gops
    if gops is None:
        stream = pictures.add_stream(output, tags)
        pictures.open(stream)  # its codec header is the stream's; it is given no picture
        return stream
    splicer = Splicer(job.clip, job.limits, gops, job.settings.muxer, pictures)
    with closing(splicer):
        stream = splicer.add_stream(output)
    stream.metadata.update(true_tags(tags))
    return stream
