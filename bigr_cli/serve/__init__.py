"""The local web page and the HTTP interface; nothing here is imported before `bigr serve` runs."""
