"""The posterior: against the plain loop, closed forms and all masks, and its promises."""
