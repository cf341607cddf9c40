"""Where rows come from: tables, archives, named sets, and how they are split."""
