"""The differentiable hand layer: pose and shape coefficients to a mesh and 21 joints.

Linear blend skinning with shape and pose correctives, as MANO defines it. `kinematics` keeps the batch as the **last**
dimension, `skinning` has it first: each is fastest so.

References:
    Romero et al., "Embodied Hands: Modeling and Capturing Hands and Bodies Together", 2017, section 4,
    https://doi.org/10.1145/3130800.3130883, after Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015.
"""

import math
from typing import Literal, NamedTuple

import roma
import torch
from torch import Tensor, nn

from handlit.hand.asset import NUM_VERTICES, HandAsset
from handlit.hand.kinematics import apply, columns_to_matrix, compose, pose_joints, rotvec_to_matrix
from handlit.hand.proportions import NUM_BONES, stretched_rest
from handlit.hand.skinning import skin
from handlit.skeleton import KINEMATIC_PARENTS, TIP_VERTICES, TipConvention, reorder

PoseSpace = Literal["axis_angle", "pca", "rotation_6d", "matrix"]
JointDefinition = Literal["kinematic", "regressed"]


class HandMesh(NamedTuple):
    """Posed hands.

    Attributes:
        vertices: (..., 778, 3) metres, in the asset's frame turned by the global rotation, plus the translation.
        joints: (..., 21, 3) metres, same frame, handlit order.
    """

    vertices: Tensor
    joints: Tensor


class HandLayer(nn.Module):
    """Pose and shape coefficients to hand meshes and joints.

    A module without parameters. Its buffers are not persistent, so the licensed numbers of a MANO file never get into a
    checkpoint: the `state_dict` is empty and the layer is rebuilt from the user's file. It computes in its own
    precision, float32 unless built or cast otherwise, also under autocast.

    Args:
        asset: The hand model.
        pose_space: Representation of the 15 finger rotations and of the global one:
            ``"axis_angle"`` pose (..., 45), global (..., 3), radians;
            ``"pca"`` pose (..., num_components) coefficients of the asset's principal components, global (..., 3)
            axis-angle;
            ``"rotation_6d"`` pose (..., 15, 6), global (..., 6): the first and then the second column of each matrix
            (Zhou et al., https://arxiv.org/abs/1812.07035);
            ``"matrix"`` pose (..., 15, 3, 3), global (..., 3, 3), not checked to be rotations.
        num_components: Principal components in use, 1 to 45; for ``"pca"`` only.
        flat_hand_mean: True where a zero pose is the flat template; False where the asset's mean pose is added to
            axis-angle or PCA poses. Datasets differ: HO-3D is flat, FreiHAND is not.
        tips: Vertices that stand for the finger tips; named by the source of the labels.
        joints: ``"kinematic"``: the 16 joints are those that the fingers rotate about. ``"regressed"``: they are
            regressed from the posed mesh, which moves them by several millimetres in a bent hand.
        dtype: Precision of the layer, float32 or float64.

    Raises:
        ValueError: The options contradict each other, or the asset has another kinematic tree than MANO's.
    """

    faces: Tensor
    joint_matrix: Tensor
    _mean: Tensor
    _components: Tensor
    _identity: Tensor
    _rest_template: Tensor
    _rest_basis: Tensor
    _template: Tensor
    _basis: Tensor
    _weights: Tensor
    _point_template: Tensor
    _point_basis: Tensor
    _point_weights: Tensor
    _point_regressor: Tensor
    _tips: Tensor
    _order: Tensor
    _parents: Tensor

    def __init__(
        self,
        asset: HandAsset,
        *,
        pose_space: PoseSpace = "axis_angle",
        num_components: int = 45,
        flat_hand_mean: bool = True,
        tips: TipConvention = "ho3d",
        joints: JointDefinition = "kinematic",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if asset.parents != KINEMATIC_PARENTS:
            raise ValueError(f"hand asset '{asset.name}' has parents {asset.parents}, expected {KINEMATIC_PARENTS}")
        if not 1 <= num_components <= 45:
            raise ValueError(f"num_components must be 1 to 45, got {num_components}")
        if pose_space != "pca" and num_components != 45:
            raise ValueError(f"num_components={num_components} has no meaning for pose_space='{pose_space}': drop it")
        if pose_space in ("rotation_6d", "matrix") and not flat_hand_mean:
            raise ValueError(
                f"flat_hand_mean=False adds the mean pose to axis-angle or PCA poses; '{pose_space}' poses are whole "
                "rotations: compose the mean into them and use flat_hand_mean=True"
            )
        self.side = asset.side
        self.pose_space: PoseSpace = pose_space
        self.tips: TipConvention = tips
        self.joints: JointDefinition = joints
        self._pose_shape, self._orient_shape = {
            "axis_angle": ((45,), (3,)),
            "pca": ((num_components,), (3,)),
            "rotation_6d": ((15, 6), (6,)),
            "matrix": ((15, 3, 3), (3, 3)),
        }[pose_space]

        arrays = _arrays(asset, tips, joints)
        if flat_hand_mean:
            arrays["_mean"] = torch.zeros_like(arrays["_mean"])
        arrays["_components"] = arrays["_components"][:num_components]
        columns = torch.eye(3, dtype=torch.float64)
        arrays["_identity"] = {"rotation_6d": columns[:2].flatten(), "matrix": columns}.get(
            pose_space, torch.zeros(3, dtype=torch.float64)
        )
        for name, values in arrays.items():
            contiguous = values.to(dtype if values.is_floating_point() else torch.int64).contiguous()
            self.register_buffer(name, contiguous, persistent=False)

    def forward(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        global_orient: Tensor | None = None,
        transl: Tensor | None = None,
        ratios: Tensor | None = None,
    ) -> HandMesh:
        """Pose the hand. The leading shapes of the arguments broadcast; any of them may be empty.

        Args:
            pose: Finger pose in the layer's `pose_space`.
            betas: (..., 10) shape coefficients; None for the mean hand.
            global_orient: Rotation about the rest wrist joint, in the layer's `pose_space`; None for none.
            transl: (..., 3) metres, added after the rotation.
            ratios: (..., 20) of each bone's length to the one that the shape gives it, see `hand.proportions`; None
                for the shape's own.

        Returns:
            Vertices and joints, metres.
        """
        with self._own_precision():
            batch, features, transforms, joints = self._articulate(pose, betas, global_orient, ratios)
            vertices = skin(self._template, self._basis, self._weights, features, transforms)
            if self.joints == "regressed":
                points = self.joint_matrix @ vertices
            else:
                points = self._with_tips(joints, vertices.index_select(1, self._tips))
            return HandMesh(self._unflatten(vertices, batch, transl), self._unflatten(points, batch, transl))

    def joints_only(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        global_orient: Tensor | None = None,
        transl: Tensor | None = None,
        ratios: Tensor | None = None,
    ) -> Tensor:
        """The joints that `forward` returns, without building the meshes; takes the same arguments.

        Returns:
            (..., 21, 3) metres, handlit order.
        """
        with self._own_precision():
            batch, features, transforms, joints = self._articulate(pose, betas, global_orient, ratios)
            # only the vertices that a joint is made of: the tips, or those that the regressor reads
            points = skin(self._point_template, self._point_basis, self._point_weights, features, transforms)
            if self.joints == "regressed":
                points = self._point_regressor @ points
            else:
                points = self._with_tips(joints, points)
            return self._unflatten(points, batch, transl)

    def rest_wrist(self, betas: Tensor) -> Tensor:
        """The wrist joint of the unposed hand: the point that the global rotation rotates about.

        Args:
            betas: (..., 10) shape coefficients.

        Returns:
            (..., 3) metres, in the asset's frame.
        """
        _leading_shape("betas", betas, (10,))
        with self._own_precision():
            # rows of the rest basis are coordinate-major: every 16th belongs to the wrist
            return self._rest_template[::16, 0] + betas.to(self._rest_basis.dtype) @ self._rest_basis[::16].mT

    def full_pose(self, pose: Tensor) -> Tensor:
        """The finger pose as axis-angle with the mean pose included, as `HandBatch.pose` has it.

        Args:
            pose: Finger pose in the layer's `pose_space`.

        Returns:
            (..., 45) radians; a flat hand is zero.
        """
        batch = _leading_shape("pose", pose, self._pose_shape)
        pose = pose.to(self._mean.dtype)
        with self._own_precision():
            if self.pose_space == "axis_angle":
                return pose + self._mean
            if self.pose_space == "pca":
                return pose @ self._components + self._mean
            matrices = columns_to_matrix(pose) if self.pose_space == "rotation_6d" else pose
            return roma.rotmat_to_rotvec(matrices).reshape(*batch, 45)

    def extra_repr(self) -> str:
        """The layer's options, as `print` shows them."""
        return f"side={self.side}, pose_space={self.pose_space}, tips={self.tips}, joints={self.joints}"

    def _own_precision(self) -> torch.autocast:
        if self._weights.dtype not in (torch.float32, torch.float64):
            # half precision moves vertices by half a millimetre: a precision=bf16-true run would do so silently
            raise TypeError(
                f"the hand layer computes in float32 or float64, got {self._weights.dtype}: "
                "train with mixed precision (bf16-mixed) or keep the layer out of the cast"
            )
        return torch.autocast(self._weights.device.type, enabled=False)

    def _articulate(
        self, pose: Tensor, betas: Tensor | None, global_orient: Tensor | None, ratios: Tensor | None
    ) -> tuple[tuple[int, ...], Tensor, Tensor, Tensor]:
        """Kinematics: batch shape, blend features (145, n), skinning transforms (12, 16, n), joints (3, 16, n)."""
        dtype, device = self._weights.dtype, self._weights.device
        orient = self._identity if global_orient is None else global_orient
        shape = torch.zeros(10, dtype=dtype, device=device) if betas is None else betas
        arguments = [
            ("pose", pose, self._pose_shape),
            ("global_orient", orient, self._orient_shape),
            ("betas", shape, (10,)),
        ]
        if ratios is not None:
            arguments.append(("ratios", ratios, (NUM_BONES,)))
        batch = torch.broadcast_shapes(*(_leading_shape(*argument) for argument in arguments))
        n = math.prod(batch)
        pose, orient, shape, *lengths = (
            value.to(dtype).expand(*batch, *trailing).reshape(n, *trailing) for _, value, trailing in arguments
        )

        rotations = self._rotations(pose, orient)
        rest = torch.addmm(self._rest_template, self._rest_basis, shape.mT).view(3, 16, n)
        if lengths:
            longer, stretch = stretched_rest(rest, lengths[0])
            world, joints = pose_joints(rotations, longer, self._parents)
            world = compose(world, stretch)
        else:
            world, joints = pose_joints(rotations, rest, self._parents)
        transforms = torch.cat((world, (joints - apply(world, rest))[:, None]), 1).view(12, 16, n)
        features = torch.cat((shape.mT, rotations[:, :, 1:].flatten(0, 2)))
        return batch, features, transforms, joints

    def _rotations(self, pose: Tensor, orient: Tensor) -> Tensor:
        """(3, 3, 16, n) rotations relative to the parents, from (n, ...) finger poses and global orientations."""
        if self.pose_space in ("axis_angle", "pca"):
            vectors = torch.cat((orient, self.full_pose(pose)), 1).view(-1, 16, 3)
            return rotvec_to_matrix(vectors.permute(2, 1, 0).contiguous())
        whole = torch.cat((orient[:, None], pose), 1)
        if self.pose_space == "rotation_6d":
            whole = columns_to_matrix(whole)
        return whole.permute(2, 3, 1, 0).contiguous()

    def _with_tips(self, joints: Tensor, tips: Tensor) -> Tensor:
        """(n, 21, 3) joints in handlit order from (3, 16, n) kinematic joints and (n, 5, 3) tips."""
        return torch.cat((joints.permute(2, 1, 0), tips), 1).index_select(1, self._order)

    def _unflatten(self, points: Tensor, batch: tuple[int, ...], transl: Tensor | None) -> Tensor:
        """(n, P, 3) points with their batch shape, translated."""
        points = points.view(*batch, *points.shape[1:])
        if transl is None:
            return points
        _leading_shape("transl", transl, (3,))
        return points + transl.to(points.dtype)[..., None, :]


def _arrays(asset: HandAsset, tips: TipConvention, joints: JointDefinition) -> dict[str, Tensor]:
    """The layer's buffers in float64: the asset's arrays rearranged for batch-last products."""
    template, shape_directions, pose_directions, regressor, weights, mean, components = (
        torch.tensor(array, dtype=torch.float64)
        for array in (
            asset.template,
            asset.shape_directions,
            asset.pose_directions,
            asset.joint_regressor,
            asset.weights,
            asset.pose_mean,
            asset.pose_components,
        )
    )
    # directions of the basis: 10 betas, then the 9 x 15 entries of the finger rotations, entry-major
    by_entry = pose_directions.unflatten(2, (15, 9)).transpose(2, 3)
    basis = torch.cat((shape_directions, by_entry.flatten(2)), 2)
    # the correctives multiply R - I; the part of the identity is constant and moves into the template
    shifted = template - torch.einsum("vcij,i->vc", by_entry, torch.eye(3, dtype=torch.float64).flatten())

    tip_ids = torch.tensor(TIP_VERTICES[tips])
    order = torch.tensor(reorder("mano_with_tips", "handlit"))
    one_hot = torch.nn.functional.one_hot(tip_ids, NUM_VERTICES).double()
    joint_matrix = torch.cat((regressor, one_hot))[order]
    points = tip_ids if joints == "kinematic" else joint_matrix.any(0).nonzero().squeeze(1)
    return {
        "faces": torch.from_numpy(asset.faces.astype("int64")),
        "joint_matrix": joint_matrix,
        "_mean": mean,
        "_components": components,
        "_parents": torch.tensor(KINEMATIC_PARENTS[1:]),
        "_rest_template": (regressor @ template).mT.reshape(48, 1),
        "_rest_basis": torch.einsum("jv,vcb->cjb", regressor, shape_directions).reshape(48, 10),
        "_template": shifted.mT.flatten(),
        "_basis": basis.transpose(0, 1).flatten(0, 1).mT,
        "_weights": weights.mT,
        "_point_template": shifted[points].mT.flatten(),
        "_point_basis": basis[points].transpose(0, 1).flatten(0, 1).mT,
        "_point_weights": weights[points].mT,
        "_point_regressor": joint_matrix[:, points],
        "_tips": tip_ids,
        "_order": order,
    }


def _leading_shape(name: str, value: Tensor, trailing: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the batch dimensions; an error where the trailing dimensions are not the expected ones."""
    split = value.ndim - len(trailing)
    if split < 0 or tuple(value.shape[split:]) != trailing:
        expected = ", ".join(["...", *map(str, trailing)])
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({expected})")
    return tuple(value.shape[:split])
