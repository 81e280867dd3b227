"""Settings, resource instances, jobs, schedules, sensors and the `freshet` command."""
