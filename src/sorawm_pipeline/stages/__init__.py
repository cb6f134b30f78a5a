"""The corridor: five plain blocking stages, each run by one thread of its own."""
