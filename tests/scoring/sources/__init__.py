"""Every kind of file gives the same rows, and says by name and row what is wrong with it."""
