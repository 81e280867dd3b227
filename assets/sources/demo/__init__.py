"""The `demo` source: a seeded market of a shop, a social feed or a course platform, with planted signal and dirt."""
