"""Devices, memory, batches, processes, and layers that are quick on a device."""
