from .attribution import Method as Method
from .attribution import explain_classes as explain_classes
from .attribution import explain_image as explain_image
from .dream import deep_dream as deep_dream
from .explanation import Explanation as Explanation
from .features import Channel as Channel
from .features import visualize_channels as visualize_channels
from .page import write_page as write_page
