"""What a stage leaves behind: score records and training records, read as types or as tidy data frames."""
