"""Programs that mean harm: what a guest may try, and what may be tried in its place (`hijacked`)."""
