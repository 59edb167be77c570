"""The pieces of the session, the most valuable first."""

from scripts.gpu_session.piece import Piece, later

_AMVUR = "AMVUR's step, HRNet-W64, 224 pixels"
_MHENTROPY = "MHEntropy's step, ResNet-50, 256 pixels"
_WAITING = "--full --backbone hrnet_w64 --batch {batch} --size 224 --frames 1000 --steps 30 --bf16 --workers 4 8 16"
_PIECES = (
    Piece("tests", "tests marked gpu", later("checks", "gpu_tests", False), 150),
    Piece("amvur_64", _AMVUR, later("training", "training", "amvur", False), 100, 64),
    Piece("amvur_16", _AMVUR, later("training", "training", "amvur", False), 100, 16),
    Piece("amvur_profile", "where AMVUR's step spends its time", later("training", "profiled", "amvur"), 60, 64),
    Piece("mhentropy", _MHENTROPY, later("training", "training", "mhentropy", False), 60, 64),
    Piece("lift", "Lift's step, 200 hypotheses of 256 hands", later("hands", "lift"), 60, 512),
    Piece("pixel_lift", "PixelLift's step, 224 pixels, 200 hypotheses", later("hands", "pixel_lift"), 60, 64),
    Piece("hand_layer", "hand layer", later("checks", "benchmark", "hand_layer", "--hands {batch}"), 40, 12_800),
    Piece("hand_layer_million", "hand layer, a million hands", later("hands", "hand_layer"), 40, 1_000_000),
    Piece("rasteriser", "rasteriser", later("checks", "benchmark", "rasterizer", "--batch {batch}"), 40, 64),
    Piece("rasteriser_640", "rasteriser, 640x480 pixels", later("hands", "rasteriser"), 40, 16),
    Piece("online", "rendering while training", later("hands", "online"), 60, 64),
    Piece("waiting", "time without data", later("checks", "benchmark", "waiting", _WAITING), 150, 64),
    Piece("amvur_128", _AMVUR, later("training", "training", "amvur", False), 100, 128),
    Piece("amvur_64_compiled", f"{_AMVUR}, compiled", later("training", "training", "amvur", True), 240, 64),
    Piece("processes", "two processes", later("checks", "two_processes"), 120, 32),
    Piece("compiler_tests", "tests of the compiler", later("checks", "gpu_tests", True), 180),
    Piece("amvur_16_compiled", f"{_AMVUR}, compiled", later("training", "training", "amvur", True), 240, 16),
    Piece("amvur_128_compiled", f"{_AMVUR}, compiled", later("training", "training", "amvur", True), 240, 128),
    Piece(
        "mhentropy_64_compiled", f"{_MHENTROPY}, compiled", later("training", "training", "mhentropy", True), 180, 64
    ),
    Piece(
        "hypotheses",
        "MHEntropy's 200 hypotheses of 256 images",
        later("checks", "benchmark", "hypotheses", "--images {batch} --draws 200"),
        60,
        256,
    ),
)
#: By name, in the order in which they run.
PIECES: dict[str, Piece] = {piece.name: piece for piece in _PIECES}
