"""Images in and out: files, recipes, contact sheets, animations."""
