"""Model folders from a hub, and to one."""
