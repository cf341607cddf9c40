"""What breaks stock servers, tried on ours: real processes, real HTTP, all bounded in time."""
