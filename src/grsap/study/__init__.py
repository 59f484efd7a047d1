"""Several stages as one piece of work: the paper's tables, the miniature, or a study of one's own."""

from grsap.study.figures import Figure
from grsap.study.plan import StageSpec
from grsap.study.study import Study

__all__ = ["Figure", "StageSpec", "Study"]
