"""What can be wrong with evidence. Every text is meant for a person and never quotes a personal value."""


class EvidenceInvalid(ValueError):
    """Base of everything that verification raises."""


class EntryInvalid(EvidenceInvalid):
    """An entry cannot be written, or is not what the log would have written."""


class ProofInvalid(EvidenceInvalid):
    """A Merkle proof does not tie together what it claims to."""


class KeyInvalid(EvidenceInvalid):
    """A verifier key line is malformed."""


class CheckpointInvalid(EvidenceInvalid):
    """A checkpoint is malformed, or not signed by the expected key."""


class BundleInvalid(EvidenceInvalid):
    """The bundle lies, is damaged, or is empty. The text says what, where and what it means."""


class TimestampInvalid(EvidenceInvalid):
    """A time stamp is not of this checkpoint, or not of a trusted time stamping authority."""


class AnchorInvalid(EvidenceInvalid):
    """What was kept of a log elsewhere contradicts the log, or is damaged."""


class CosignatureInvalid(EvidenceInvalid):
    """A witness's line under a checkpoint is not that witness's."""
