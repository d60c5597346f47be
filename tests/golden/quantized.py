"""Quantized checkpoints in the layouts of public tools: packs weights, and dequantizes what was packed.

Weights are rounded to the nearest code (this is about layouts, not about quantizing well); the oracle then runs with
what `dequantize_*` reads back from the packed tensors. Sources of the layouts and of the formulas:
    fp8   transformers, integrations/finegrained_fp8.py: FP8Linear, and Fp8Dequantize of 5.x; blocks that do not divide a
          matrix as in FP8Linear and _w8a8_block_fp8_matmul: ceil(n / 128) of them
    gptq  AutoGPTQ, nn_modules/qlinear/qlinear_cuda_old.py (unpacking; zero points stored minus one, masked to `bits`)
          and qlinear_cuda.py (g_idx); GPTQModel, format gptq_v2 (zero points as they are)
    awq   AutoAWQ, modules/linear/gemm.py (packing) and utils/packing_utils.py (AWQ_REVERSE_ORDER)
"""

from dataclasses import dataclass

import torch

BLOCK = 128
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


@dataclass
class Quant:
    """How a golden model is quantized. `group` -1 is a whole row; scales are of type `scale`."""

    method: str
    bits: int = 8
    group: int = BLOCK
    sym: bool = True
    act_order: bool = False
    checkpoint_format: str = "gptq"
    scale: str = "float16"
    excludes: tuple = ()
    scattered: tuple = ()  # with act_order: only the matrices whose names contain one of these

    def config(self):
        """quantization_config as the tool writes it."""
        if self.method == "fp8":
            return dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[BLOCK, BLOCK],
                        modules_to_not_convert=["lm_head", *self.excludes])
        if self.method == "awq":
            return dict(quant_method="awq", bits=4, group_size=self.group, zero_point=True, version="gemm",
                        modules_to_not_convert=list(self.excludes) or None)
        return dict(quant_method="gptq", bits=self.bits, group_size=self.group, sym=self.sym, desc_act=self.act_order,
                    checkpoint_format=self.checkpoint_format, damp_percent=0.01, lm_head=False, pack_dtype="int32",
                    static_groups=False, true_sequential=True, meta={"quantizer": ["tests/golden"]})

    def converts(self, name):
        """Projections of layers, but not routers."""
        return ".layers." in name and name.endswith("_proj.weight") and not any(e in name for e in self.excludes)


def store(weight, name, quant, generator):
    """Checkpoint tensors of one matrix [N, K], by their names."""
    if quant.method == "fp8":
        return store_fp8(weight, name, quant)
    return store_groups(weight, name, quant, generator)


def dequantize(tensors, name, quant):
    """The fp32 matrix [N, K] that the tensors of store() mean."""
    if quant.method == "fp8":
        return dequantize_fp8(tensors[name], tensors[name + "_scale_inv"])
    stem = name.removesuffix("weight")
    parts = {part: tensors[stem + part] for part in ("qweight", "qzeros", "scales")}
    if quant.method == "awq":
        return dequantize_awq(**parts)
    return dequantize_gptq(**parts, g_idx=tensors[stem + "g_idx"], quant=quant)


# fp8


def blocks(n):
    return -(-n // BLOCK)


def spread_blocks(scales, rows, columns):
    """One scale for each element."""
    return scales.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :columns]


def store_fp8(weight, name, quant):
    rows, columns = weight.shape
    padded = torch.zeros(blocks(rows) * BLOCK, blocks(columns) * BLOCK)
    padded[:rows, :columns] = weight.abs()
    largest = padded.reshape(blocks(rows), BLOCK, blocks(columns), BLOCK).amax(dim=(1, 3))
    scales = largest / torch.finfo(torch.float8_e4m3fn).max
    if quant.scale == "float8_e8m0fnu":
        scales = torch.pow(2.0, torch.ceil(torch.log2(scales)))
    scales = scales.to(getattr(torch, quant.scale))
    codes = (weight / spread_blocks(scales.float(), rows, columns)).clamp(-448, 448).to(torch.float8_e4m3fn)
    return {name: codes, name + "_scale_inv": scales}


def dequantize_fp8(codes, scales):
    return codes.float() * spread_blocks(scales.float(), *codes.shape)


# gptq and awq


def group_numbers(columns, quant, name, generator):
    """The group of each column; with act-order a random one of the column's, each group as large as without."""
    size = columns if quant.group == -1 else quant.group
    numbers = torch.arange(columns) // size
    if quant.act_order and (not quant.scattered or any(part in name for part in quant.scattered)):
        numbers = numbers[torch.randperm(columns, generator=generator)]
    return numbers


def store_groups(weight, name, quant, generator):
    columns = weight.shape[1]
    top, middle = 2 ** quant.bits - 1, 2 ** (quant.bits - 1)
    numbers = group_numbers(columns, quant, name, generator)
    scales, zeros = [], []
    for g in range(int(numbers.max()) + 1):
        part = weight[:, numbers == g]
        low, high = part.amin(dim=1).clamp(max=0), part.amax(dim=1).clamp(min=0)
        if quant.sym:
            low, high = -torch.maximum(-low, high), torch.maximum(-low, high)
        scale = ((high - low) / top).clamp(min=1e-6).to(getattr(torch, quant.scale))
        zero = torch.full_like(low, middle) if quant.sym else (-low / scale.float()).round().clamp(0, top)
        scales.append(scale)
        zeros.append(zero)
    scales, zeros = torch.stack(scales), torch.stack(zeros)  # [groups, N]
    codes = (weight / scales.float()[numbers].T + zeros[numbers].T).round().clamp(0, top).long()
    stem = name.removesuffix("weight")
    if quant.method == "awq":
        return {stem + "qweight": pack_awq(codes.T), stem + "qzeros": pack_awq(zeros.long()), stem + "scales": scales}
    if quant.checkpoint_format == "gptq":
        zeros = zeros - 1
    return {stem + "qweight": pack_words(codes, quant.bits).T.contiguous(),
            stem + "qzeros": pack_words(zeros.long() & top, quant.bits), stem + "scales": scales,
            stem + "g_idx": numbers.to(torch.int32)}


def to_int32(words):
    """int64 words of 32 bits as two's complement."""
    return torch.where(words >= 2 ** 31, words - 2 ** 32, words).to(torch.int32)


def pack_words(codes, bits):
    """[rows, n] -> I32 [rows, n * bits / 32], from the lowest bits up."""
    fields = codes.reshape(codes.shape[0], -1, 32 // bits)
    return to_int32(sum(fields[:, :, i] << (bits * i) for i in range(32 // bits))).contiguous()


def pack_awq(codes):
    """[rows, N] -> I32 [rows, N / 8]: nibble i holds output AWQ_ORDER[i] of its eight."""
    fields = codes.reshape(codes.shape[0], -1, 8)[:, :, AWQ_ORDER]
    return pack_words(fields.reshape(codes.shape), 4)


def unpack_words(words, bits):
    shifts = torch.arange(0, 32, bits)
    return ((words.long()[:, :, None] >> shifts) & (2 ** bits - 1)).reshape(words.shape[0], -1)


def dequantize_gptq(qweight, qzeros, scales, g_idx, quant):
    zeros = unpack_words(qzeros, quant.bits)
    if quant.checkpoint_format == "gptq":
        zeros = (zeros + 1) & (2 ** quant.bits - 1)
    codes = unpack_words(qweight.T, quant.bits).T  # [K, N]
    groups = g_idx.long()
    return (scales.float()[groups] * (codes - zeros[groups])).T.contiguous()


def dequantize_awq(qweight, qzeros, scales):
    reverse = [AWQ_ORDER.index(i) for i in range(8)]

    def unpack(words):
        fields = unpack_words(words, 4)
        return fields.reshape(fields.shape[0], -1, 8)[:, :, reverse].reshape(fields.shape)

    repeat = -(-qweight.shape[0] // scales.shape[0])
    spread = lambda rows: rows.repeat_interleave(repeat, 0)
    return ((unpack(qweight) - spread(unpack(qzeros))) * spread(scales.float())).T.contiguous()
