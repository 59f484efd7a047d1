"""Studies: several stages as one piece of work, such as the paper's tables, the miniature, or a user-defined study."""

from grsap.study.figures import Figure
from grsap.study.plan import StageSpec
from grsap.study.study import Study

__all__ = ["Figure", "StageSpec", "Study"]
