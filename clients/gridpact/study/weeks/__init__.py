"""The study of the B-DER report's work package 4: four scenarios over a summer and a winter week, day by day."""
