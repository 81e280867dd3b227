"""The exception tree of Freshet.

FreshetError
├── ConfigurationError        a setting, domain file or mapping is missing or wrong
├── SourceError               a source file cannot be used as a whole
│   ├── SourceUnavailableError  a stream does not answer; tried again
│   ├── SourceGapError        a stream lost rows before they were read; told once, and the rest is read
│   ├── UnreadableFileError   cannot be opened, decoded or decompressed
│   └── MissingColumnError    a needed column is absent; names what exists and the nearest guess
├── LakeError                 the lakehouse refused a read or a write
│   ├── LakeLockedError       another process held the write lock for too long
│   └── LakeFullError         the disk under the lake is full; nothing was committed
├── MirrorError               the key-value mirror of the lists does not answer or is full; the lake has them all
├── NearlineError             a nearline batch cannot be committed as it is
│   ├── PositionMovedError    another worker has read on in this source
│   ├── LeaseLostError        another worker leads now
│   └── StaleStateError       the lake knew events that the step did not know of
├── DataError                 the data cannot support what was asked (no items, no users, nothing to rank)
├── WeightsError              encoder weights are missing, corrupt or not the ones expected
├── NotFittedError            a model was used before it was fitted or loaded
├── RegistryError             the model registry has no such model, version or alias
└── UnknownUserError          no list and no history exist for the user asked for

Every message names the file, row, column, key or value at fault and says how to mend it.
"""


class FreshetError(Exception):
    """Base of all errors that Freshet raises on purpose; the command line prints these without a traceback."""


class ConfigurationError(FreshetError):
    """A setting, domain file or column mapping is missing or wrong."""


class SourceError(FreshetError):
    """A source file cannot be used as a whole."""


class SourceUnavailableError(SourceError):
    """A stream does not answer; what was committed stays, and the rest is read once it does."""


class SourceGapError(SourceError):
    """A stream removed rows before they were read; they are lost unless they are landed, and the rest is read on."""


class UnreadableFileError(SourceError):
    """A file cannot be opened, decoded or decompressed."""


class MissingColumnError(SourceError):
    """A needed column is absent from a source file."""


class LakeError(FreshetError):
    """The lakehouse refused a read or a write."""


class LakeLockedError(LakeError):
    """Another process held the write lock for longer than the configured time."""


class LakeFullError(LakeError):
    """The disk under the lake is full; the transaction was rolled back."""


class MirrorError(FreshetError):
    """The key-value mirror of the lists does not answer or is full; every list is in the lake."""


class ReportError(FreshetError):
    """Dagster could not be told of a batch; its lists are in the lake."""


class NearlineError(FreshetError):
    """A nearline batch cannot be committed as it is; nothing of it was written."""


class PositionMovedError(NearlineError):
    """Another worker has read on in this source."""


class LeaseLostError(NearlineError):
    """Another worker leads now."""


class StaleStateError(NearlineError):
    """The lake knew events that the step did not know of."""


class DataError(FreshetError):
    """The data cannot support what was asked, such as an empty catalogue."""


class WeightsError(FreshetError):
    """Encoder weights are missing, corrupt or not the ones that were expected."""


class NotFittedError(FreshetError):
    """A model was used before it was fitted or loaded."""


class RegistryError(FreshetError):
    """The model registry has no such model, version or alias."""


class UnknownUserError(FreshetError):
    """Neither a list nor a history exists for a user."""
