"""Reading raw pictures and labels from data sets on disk and on the web."""
