"""DVC's graph run side by side: DVC says what is stale, Ray says where it runs, a supervisor owns every process."""
