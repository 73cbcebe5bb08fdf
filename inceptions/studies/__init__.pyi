from .catalog import get_study as get_study
from .catalog import list_studies as list_studies
from .known import read_known as read_known
from .run import Budget as Budget
from .run import run_study as run_study
from .study import Arm as Arm
from .study import Claim as Claim
from .study import Study as Study
