"""Hands of painted images by networks that see paint; the real networks where they are there."""

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.landmarks import HandDetector, HandTracker, model_files
from handlit.landmarks.detector import areas
from handlit.landmarks.hand import DetectedHand
from tests.landmarks.painted import ENGINES, joint_engine, paint, pairs, palm_engine, turned_hand


@pytest.fixture
def detector() -> HandDetector:
    return HandDetector(engines=ENGINES)


def assert_is(hand: DetectedHand, joints: np.ndarray, tolerance: float = 1.0) -> None:
    np.testing.assert_allclose(hand.joints_2d, joints, atol=tolerance)
    assert hand.joints_2d.dtype == hand.box.dtype == hand.confidence.dtype == np.float64
    assert hand.presence > 0.8
    assert hand.track is None


def test_hands_are_found_wherever_they_point(detector: HandDetector) -> None:
    joints = [turned_hand((90, 150), 40, 20), turned_hand((220, 90), 50, -110)]
    image = paint(joints)
    before = image.copy()
    hands = sorted(detector(image), key=lambda hand: float(hand.box[0]))
    assert len(hands) == 2
    for hand, expected in zip(hands, joints, strict=True):
        assert_is(hand, expected)
        assert hand.right
    np.testing.assert_array_equal(image, before)


def test_a_left_hand_and_no_hand(detector: HandDetector) -> None:
    (hand,) = detector(paint([turned_hand((100, 150), 50)], left=True))
    assert not hand.right
    assert detector(np.full((60, 80, 3), 40, np.uint8)) == []


def test_a_hand_that_fills_the_image_is_found_with_a_margin() -> None:
    """As the real networks do, these overlook a large palm, and take a small part of it for a hand."""

    def only_small(image: np.ndarray) -> list[np.ndarray]:
        numbers, logits = palm_engine(image)
        logits = np.where(numbers[:, 2:3] > 0.3 * 192, -9.0, logits)
        if logits.max() < 0:
            numbers[600] = [0, 0, 20, 20, 0, 10, 0, 0, 0, -10, *[0] * 8]
            logits[600] = 3
        return [numbers, logits]

    def unsure_of_a_part(image: np.ndarray) -> list[np.ndarray]:
        if pairs(image):
            return joint_engine(image)
        landmarks = np.zeros((21, 3))
        landmarks[:, :2] = turned_hand((112, 150), 40)
        return [landmarks.ravel(), np.array([0.7]), np.array([0.2])]

    detector, joints = HandDetector(engines=(only_small, unsure_of_a_part)), turned_hand((48, 90), 42)
    (hand,) = detector(paint([joints], (100, 100)))
    assert_is(hand, joints)
    assert hand.right


def test_small_hands_are_found_in_parts_of_the_image(detector: HandDetector) -> None:
    # 7 pixels of the palm network's input; the painted one sees palms of 12
    small = [turned_hand((200 + 400 * place, 500 - 150 * place), 35, 40 * place) for place in range(2)]
    larger = turned_hand((500, 300), 55, 30)
    hands = sorted(detector(paint(small, (1000, 700))), key=lambda hand: float(hand.box[0]))
    for hand, joints in zip(hands, small, strict=True):
        assert_is(hand, joints, 1.5)
    (hand,) = detector(paint([larger], (1000, 700)))
    assert_is(hand, larger, 1.5)


@pytest.mark.parametrize("size", [(640, 480), (101, 77), (1, 1), (2, 900)])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_of_an_image_cover_it(size: tuple[int, int], parts: int) -> None:
    seen = np.zeros(size[::-1], int)
    for x0, y0, x1, y1 in areas(*size, parts):
        assert 0 <= x0 < x1 <= size[0]
        assert 0 <= y0 < y1 <= size[1]
        seen[y0:y1, x0:x1] += 1
    assert seen.min() >= 1
    # neighbours overlap
    assert parts == 1 or (seen > 1).any()


def test_a_palm_that_is_found_twice_is_one_hand(detector: HandDetector) -> None:
    def twice(image: np.ndarray) -> list[np.ndarray]:
        numbers, logits = palm_engine(image)
        best = int(logits[:, 0].argmax())
        # far enough to be another palm, near enough to show the same hand
        numbers[best + 10] = numbers[best]
        logits[best + 10] = min(3.0, logits[best, 0])
        return [numbers, logits]

    joints = turned_hand((100, 150), 40)
    (hand,) = HandDetector(engines=(twice, joint_engine))(paint([joints]))
    assert_is(hand, joints)


def test_given_boxes_need_no_palms() -> None:
    def blind(image: np.ndarray) -> list[np.ndarray]:
        raise AssertionError("palms were looked for")

    joints = [turned_hand((90, 150), 40, 160), turned_hand((230, 90), 30, -75)]
    boxes = np.array([[*points.min(axis=0) - 4, *points.max(axis=0) + 6] for points in joints])
    detector = HandDetector(engines=(blind, joint_engine))
    hands = detector(paint(joints), boxes[::-1])
    for hand, expected in zip(hands, joints[::-1], strict=True):
        assert_is(hand, expected)
    assert detector(paint(joints), np.zeros((0, 4))) == []


def test_in_a_box_the_hand_counts_on_which_most_looks_agree() -> None:
    joints = turned_hand((160, 140), 40)
    turns = 0

    def sure_of_a_wrong_one(image: np.ndarray) -> list[np.ndarray]:
        nonlocal turns
        turns += 1
        landmarks, presence, handedness, *rest = joint_engine(image)
        if turns in (3, 9):
            return [np.tile([100.0, 100.0, 0.0], 21) + turns, np.array([1.0]), np.array([0.0])]
        return [landmarks, 0.9 * presence, handedness, *rest]

    detector = HandDetector(engines=(palm_engine, sure_of_a_wrong_one))
    (hand,) = detector(paint([joints]), np.array([[*joints.min(axis=0), *joints.max(axis=0)]]))
    np.testing.assert_allclose(hand.joints_2d, joints, atol=1)
    assert hand.right
    assert hand.confidence.min() > 0.5


def test_joints_that_two_looks_place_elsewhere_are_less_sure() -> None:
    looks = 0

    def unsteady(image: np.ndarray) -> list[np.ndarray]:
        nonlocal looks
        looks += 1
        landmarks, *rest = joint_engine(image)
        landmarks = landmarks.copy()
        landmarks[3 * 8] += 40 * looks
        return [landmarks, *rest]

    (hand,) = HandDetector(engines=(palm_engine, unsteady))(paint([turned_hand((100, 150), 50)]))
    assert hand.confidence[8] < 0.6 * hand.presence
    assert np.delete(hand.confidence, 8).min() > 0.95 * hand.presence


def test_a_box_without_a_hand_keeps_its_place(detector: HandDetector) -> None:
    joints = turned_hand((90, 150), 40)
    empty, full = [250.0, 10.0, 300.0, 60.0], [*joints.min(axis=0), *joints.max(axis=0)]
    nothing, hand = detector(paint([joints]), np.array([empty, full]))
    assert nothing.presence == 0
    assert_is(hand, joints)


def test_an_engine_that_gives_no_numbers() -> None:
    def broken(image: np.ndarray) -> list[np.ndarray]:
        return [np.full(shape, np.nan, np.float32) for shape in (63, 1, 1, 63)]

    image = paint([turned_hand((100, 150), 50)])
    detector = HandDetector(engines=(palm_engine, broken))
    assert detector(image) == []
    (hand,) = detector(image, np.array([[10.0, 20.0, 30.0, 60.0]]))
    assert hand.presence == 0
    np.testing.assert_array_equal(hand.confidence, np.zeros(21))
    np.testing.assert_array_equal(hand.joints_2d, np.tile([20.0, 40.0], (21, 1)))
    np.testing.assert_array_equal(hand.box, [10, 20, 30, 60])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
        "photo.jpg",
    ],
    ids=lambda image: str(getattr(image, "shape", image)),
)
def test_what_is_no_image_is_refused(detector: HandDetector, image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"arrays of uint8 and shape \(height, width, 3\), got "):
        detector(image)


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [1, 2, np.nan, 4], [1, 2, 3]])
def test_what_is_no_box_is_refused(detector: HandDetector, box: list[float]) -> None:
    with pytest.raises(InputError, match="a hand box must be finite x0, y0, x1, y1"):
        detector(np.zeros((9, 9, 3), np.uint8), np.array([box]))


def test_boxes_beside_the_image_or_in_another_shape_are_refused(detector: HandDetector) -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    with pytest.raises(InputError, match="lies outside the 120x90 image"):
        detector(image, np.array([[10.0, 10.0, 40.0, 40.0], [200.0, 10.0, 240.0, 50.0]]))
    with pytest.raises(InputError, match=r"shape \(N, 4\), got \(4,\)"):
        detector(image, np.array([10.0, 10.0, 40.0, 40.0]))


@pytest.mark.parametrize("power", [0, 3, 30])
def test_wild_numbers_of_the_engine_end_in_no_trace(power: int) -> None:
    rng = np.random.default_rng(power)

    def wild(*shapes: tuple[int, ...]) -> list[np.ndarray]:
        return [rng.normal(0, 10.0**power, shape) for shape in shapes]

    detector = HandDetector(
        # a few palms in each part of the image
        engines=(
            lambda image: [*wild((2016, 18)), rng.normal(-3, 1, (2016, 1))],
            lambda image: wild((63,), (1,), (1,), (63,)),
        )
    )
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    follow = HandTracker(detector)
    for hand in [*detector(image, np.array([[5.0, 5.0, 30.0, 30.0]])), *follow(image), *follow(image)]:
        assert hand.joints_2d.shape == (21, 2)
        assert np.isfinite(hand.joints_2d).all()
        assert ((hand.confidence >= 0) & (hand.confidence <= 1)).all()


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (1, 900), (900, 1)])
def test_tiny_images(detector: HandDetector, size: tuple[int, int]) -> None:
    assert detector(np.full((*size, 3), 128, np.uint8)) == []


def test_without_the_networks_a_line_says_how_to_fetch_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("HANDLIT_CACHE", str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(InputError, match=r"not fetched yet: run `.* fetch-detector` once"):
        HandDetector()


@pytest.mark.parametrize("threads", [0, 1.5, True, "2"])
def test_threads_are_a_whole_number(threads: int) -> None:
    with pytest.raises(InputError, match="threads must be a whole number, at least 1"):
        HandDetector(threads)


@pytest.mark.skipif(not model_files.are_fetched(), reason="the networks are not fetched: python main.py fetch-detector")
@pytest.mark.parametrize("size", [(1, 1), (10, 10), (3, 700), (480, 640)])
def test_the_real_networks_bear_noise(size: tuple[int, int]) -> None:
    pytest.importorskip("ai_edge_litert")
    real = HandDetector()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    hands = real(image) + real(image, np.array([[0.0, 0.0, size[1], size[0]]]))
    for hand in hands:
        assert np.isfinite(hand.joints_2d).all()
        assert 0 <= hand.confidence.min() <= hand.confidence.max() <= hand.presence <= 1
        # one of many noisy squares may look a little like a hand
        assert hand.presence < 0.9
