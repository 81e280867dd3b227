"""Key-value mirrors of the published lists, for services that look lists up one by one."""
