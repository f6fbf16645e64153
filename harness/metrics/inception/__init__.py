"""The 2015 Inception: one topology that writes, reads and builds every form of it."""
