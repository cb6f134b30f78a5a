"""What the machine offers at this moment: memory, GPUs, codecs, and how large a batch may be."""
