"""Reports: pages about runs, as one HTML file each."""
