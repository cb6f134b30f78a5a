"""The daemon's HTTP side: an API for programs, a dashboard for people, metrics for Prometheus.

`server` binds and serves beside a running daemon, `app` puts the routes together, `guard` lets in
who may come in. Everything it tells comes from `Daemon.status`, the ledger and the daemon's events.
"""
