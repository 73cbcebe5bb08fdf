"""What is known of each network from elsewhere: the papers and the published checkpoints."""

from typing import NamedTuple


class Count(NamedTuple):
    """Parameters and multiply-adds; channels under batch normalisation; length of the vector that the classifier reads; smallest image.

    The papers' networks that end on 8x8 (FaceNet's on 3x3) pad nothing where they stride, and need 75 pixels.
    """

    parameters: int
    with_aux: int
    multiply_adds: int
    norm_channels: int
    features: int
    smallest_px: int


COUNTS = {
    #                                    parameters    with aux   multiply-adds  BN channels  features  smallest
    "googlenet": Count(6_998_552, 13_378_280, 1_582_671_872, 0, 1024, 32),
    "googlenet_naive": Count(97_526_008, 104_274_376, 12_568_061_056, 0, 4944, 32),
    "googlenet_bn": Count(6_624_904, 13_004_888, 1_498_376_192, 7_280, 1024, 32),
    "bn_inception": Count(11_278_528, 11_278_528, 1_948_605_440, 10_016, 1024, 32),
    "bn_inception_caffe": Count(11_295_240, 11_295_240, 2_032_600_064, 10_016, 1024, 32),
    "inception_v2_slim": Count(11_188_224, 11_188_224, 1_934_857_216, 9_952 - 64, 1024, 32),
    "inception_v2": Count(25_954_248, 25_954_248, 6_352_562_784, 19_264, 2048, 75),
    "inception_v3": Count(23_834_568, 27_161_264, 5_713_216_096, 17_216, 2048, 75),
    "inception_v3_fid": Count(23_850_960, 23_850_960, 5_713_232_480, 17_216, 2048, 75),
    "inception_v4": Count(42_679_816, 46_039_280, 12_253_974_624, 31_584, 1536, 75),
    "inception_resnet_v1": Count(22_756_328, 22_756_328, 6_206_361_696, 13_520, 1792, 75),
    "inception_resnet_v1_facenet": Count(23_482_624, 23_482_624, 1_417_662_304, 14_800, 512, 75),
    "inception_resnet_v2": Count(55_843_464, 59_211_120, 13_155_794_016, 30_272, 1536, 75),
    "inception_resnet_v2_paper": Count(32_433_928, 32_433_928, 9_257_953_632, 16_432, 2144, 75),
    "xception": Count(22_855_952, 22_855_952, 8_357_403_496, 27_264, 2048, 32),
    "xception41": Count(26_969_560, 26_969_560, 9_204_134_312, 57_656, 2048, 32),
    "xception65": Count(39_916_312, 39_916_312, 13_852_682_216, 92_600, 2048, 32),
    "xception71": Count(42_338_736, 42_338_736, 17_946_553_928, 99_488, 2048, 32),
    "xception41p": Count(26_907_752, 26_907_752, 9_204_134_312, 26_752, 2048, 32),
    "xception65p": Count(39_819_560, 39_819_560, 13_852_682_216, 44_224, 2048, 32),
    "inception_small": Count(1_651_114, 1_651_114, 204_219_680, 1_712, 336, 4),
    "inception_cifar": Count(3_195_594, 3_195_594, 140_659_744, 1_872, 512, 9),
}
