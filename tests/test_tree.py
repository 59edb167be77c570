"""Tests mirror the package: `handlit/formats/ho3d.py` is tested in `tests/formats/test_ho3d.py`."""

from pathlib import Path

import handlit

PACKAGE, TESTS = Path(handlit.__file__).parent, Path(__file__).parent
#: Parts of something that is tested as a whole: module, or folder whose modules are such parts, and the test's file.
TESTED_IN = {
    # the commands: each is a line of arguments and the function that a room of its own tests
    "cli/annotate.py": "annotation/test_annotate.py",
    "callbacks/output/validation_errors.py": "cli/test_calibrate.py",
    "calibration/report.py": "cli/test_calibrate.py",
    "callbacks/output/weights_file.py": "methods/test_lift.py",
    "cli/fetch_detector.py": "landmarks/test_model_files.py",
    "cli/import_weights.py": "models/published/test_importing.py",
    "cli/pack.py": "data/packing/test_write.py",
    "cli/score.py": "test_cli.py",
    "cli/synth.py": "test_cli.py",
    "cli/trainer.py": "test_cli.py",
    "cli/verb_parser.py": "test_cli.py",
    # what callbacks write of a hand
    "callbacks/output/chosen_hands.py": "callbacks/output/test_pictures.py",
    "callbacks/output/hand_of_hypotheses.py": "callbacks/output/test_hypothesis_export.py",
    "callbacks/output/predicted_hand.py": "callbacks/output/test_pictures.py",
    "callbacks/output/predicted_scale.py": "callbacks/output/test_submission.py",
    "callbacks/running/ema.py": "test_training_options.py",
    "callbacks/trainer_parts.py": "callbacks/output/test_submission.py",
    # a demo is tested by what it leaves
    "demo/records.py": "demo/test_run.py",
    "demo/summary.py": "demo/test_run.py",
    "demo/tracks.py": "demo/test_run.py",
    # a dataset's reader is tested by what its data module makes of whole trees
    "data/loading/cropping.py": "data/loading/test_dataset.py",
    "data/packed.py": "data/packing/test_read.py",
    "formats/hand_files.py": "callbacks/output/test_meshes.py",
    "formats/folder.py": "data/test_folder.py",
    "formats/folder_hand.py": "data/test_folder.py",
    "formats/freihand.py": "data/test_freihand.py",
    "formats/ho3d_annotations.py": "data/test_ho3d.py",
    "formats/ho3d_objects.py": "data/test_ho3d.py",
    "formats/ho3d_splits.py": "data/test_ho3d.py",
    "formats/packed.py": "data/packing/test_read.py",
    "formats/worker_main.py": "formats/test_worker_pool.py",
    "formats/archives.py": "scoring/official/test_submission.py",
    "formats/benchmark.py": "formats/test_registry.py",
    "formats/truth_files.py": "formats/test_ground_truth.py",
    "data/packing/extent.py": "data/packing/test_read.py",
    "data/packing/plan.py": "data/packing/test_write.py",
    "data/packing/shards.py": "data/packing/test_write.py",
    # verification is tested by what it finds in trees that are broken on purpose
    "data/verification": "data/verification/test_verify.py",
    "findings.py": "data/verification/test_verify.py",
    # scenes are tested by their images and labels
    "data/synthesis/ho3d_writer.py": "data/synthesis/test_generate.py",
    "data/synthesis/online_renderer.py": "data/test_online.py",
    "data/synthesis/online_scene.py": "data/test_online.py",
    "data/synthesis/presets.py": "data/synthesis/test_sequence.py",
    "data/synthesis/scene.py": "data/synthesis/test_drawing.py",
    # two flows, the same tests
    "distributions/spline_flow.py": "distributions/test_flow.py",
    "hand/anatomy.py": "hand/test_articulation.py",
    "hand/asset.py": "hand/test_mano.py",
    "hand/skinning.py": "hand/test_layer.py",
    "hand/unpickle.py": "hand/test_mano.py",
    "methods/lift_graph.py": "methods/test_graph.py",
    "methods/method.py": "methods/test_amvur.py",
    "methods/published/amvur.py": "models/published/test_importing.py",
    "methods/published/mhentropy.py": "models/published/test_mhentropy_weights.py",
    "methods/supervision.py": "methods/test_amvur.py",
    # functions and the metrics around them
    "metrics/functional.py": "metrics/test_pose.py",
    "metrics/hypothesis_measures.py": "metrics/test_hypotheses.py",
    "metrics/measure.py": "metrics/test_registry.py",
    "metrics/published_measures.py": "metrics/test_hypotheses.py",
    "models/lifter.py": "methods/test_lift.py",
    "models/mhentropy.py": "methods/test_mhentropy.py",
    "models/published/amvur": "models/published/test_amvur.py",
    "models/published/amvur_weights.py": "models/published/test_importing.py",
    "models/published/conversion.py": "models/published/test_importing.py",
    "render/scanline.py": "render/test_rasterizer.py",
    # the official scores against the literal frame-by-frame definition
    "scoring/official/frame_errors.py": "scoring/official/test_evaluation.py",
    "scoring/official/hand_checks.py": "scoring/official/test_linter.py",
    "scoring/official/joint_errors.py": "scoring/test_scores.py",
    "scoring/official/measures.py": "scoring/test_scores.py",
    "scoring/official/predicted_scale.py": "callbacks/output/test_submission.py",
    "scoring/official/record_files.py": "scoring/official/test_submission.py",
    "scoring/official/submission_writer.py": "scoring/official/test_submission.py",
    "scoring/console.py": "scoring/test_score.py",
    "scoring/results.py": "scoring/test_score.py",
    # pages are read as a browser shows them
    "scoring/pages/charts.py": "scoring/pages/test_report.py",
    "scoring/pages/hand_chart.py": "scoring/pages/test_report.py",
    "scoring/pages/rendering.py": "scoring/pages/test_report.py",
    # classes without behaviour, raised everywhere
}
MODULES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    # faces
    if path.name not in ("__init__.py", "__main__.py")
]


def own_test(module: Path) -> Path:
    return TESTS / module.parent / f"test_{module.name}"


def test_every_module_has_its_test_or_is_part_of_what_is_tested() -> None:
    without = [
        str(module)
        for module in MODULES
        if not own_test(module).is_file() and not {str(module), *map(str, module.parents)} & TESTED_IN.keys()
    ]
    assert not without, "write their tests in the mirrored place"


def test_the_list_of_parts_holds_nothing_else() -> None:
    assert not {test for test in TESTED_IN.values() if not (TESTS / test).is_file()}
    gone = [module for module in TESTED_IN if not (PACKAGE / module).exists()]
    own = [module for module in TESTED_IN if own_test(Path(module)).is_file()]
    assert not gone, "these are no modules any more"
    assert not own, "these have a test of their own now: strike them off the list"
