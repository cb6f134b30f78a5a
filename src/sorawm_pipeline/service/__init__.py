"""The long-running side: which file next, in which worker, and what became of it.

A file's way: `watch` and `scan` tell that it is there, `admission` waits until it stands still, an
inspecting worker (`inspect`) says whether it is whole and what its content is, the `ledger` takes
it as a job, a `slot` gives it to its worker process, `publish` gives the result its name, and
`sources` does with the file what is configured. `daemon` holds these together; what wants to see or
steer it (the HTTP API) uses `Daemon.submit`, `cancel`, `retry`, `events`, `status` and `Ledger`'s
reads.
"""
