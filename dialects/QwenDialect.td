// The qwen dialect: what a Qwen3 program means. See RATIONALE.md for why it looks like this.
#ifndef QWENCH_DIALECTS_QWENDIALECT_TD
#define QWENCH_DIALECTS_QWENDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/BuiltinTypeInterfaces.td"

def Qwen_Dialect : Dialect {
  let name = "qwen";
  let cppNamespace = "::qwench::qwen";
  let summary = "Qwen3 language models: layers, their fusions, and their planned tile programs";
  let description = [{
    One dialect carries a program from the import of a checkpoint to the border of a target. The *model* and *fused*
    stages use value semantics (tensors); the *planned* stage uses the same ops with buffer semantics (memrefs at
    offsets of one arena), a tile size on each op, and a layout on each weight.

    Shapes in the documentation: `T` rows (tokens of a step), `O` output rows, `H` hidden size, `N`/`K` outputs/inputs
    of a linear map, `A` query heads, `G` key/value heads, `D` head dimension, `I` intermediate size, `E` experts,
    `k` experts per token, `V` vocabulary.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

//===-- Types ---------------------------------------------------------------------------------------------------===//

class Qwen_Type<string name, string typeMnemonic, list<Trait> traits = []> : TypeDef<Qwen_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
}

def Qwen_BatchType : Qwen_Type<"Batch", "batch"> {
  let summary = "the rows of one step";
  let description = [{
    For each of `T` rows: token id, position in its sequence, cache slot of the sequence, and the sequence's known
    length; and the list of the `O` rows whose logits are wanted. Rows of one sequence stand in ascending, consecutive
    positions. Or the draws of tokens from rows of logits.
  }];
}

def Qwen_CacheType : Qwen_Type<"Cache", "cache"> {
  let summary = "the keys and values of every layer, by slot, head and position";
  let description = [{
    A key or value of one head at one position is a vector of `dim` elements. With a float element each is rounded to it.
    With `!qwen.quant` the vector is a row of its own, quantized when it is written; r is rounding to the nearest integer,
    ties to even, and all of it is f32 arithmetic. For each group of columns:
    - `i8`: scale = max |x| / 127, code = r(x * (1 / scale)).
    - `f8E4M3FN`: scale = max |x| / 448, code = x * (1 / scale) rounded to e4m3.
    - `i4` with zero points: scale = (max(x, 0) - min(x, 0)) / 15, zero = r(-min(x, 0) * (1 / scale)),
      code = r(x * (1 / scale)) + zero, within 0 to 15.
    The scale is rounded to its type before it is used; where it is 0 all codes mean 0.

    ```mlir
    !qwen.cache<layers = 28, heads = 8, dim = 128, !qwen.quant<i4, group = 32, scale = f16, zero_points = true>>
    ```
  }];
  let extraClassDeclaration = [{
    /// The element if it is quantized, else null.
    QuantType getQuant() const;
    /// Bytes of one vector, its scales and zero points included.
    int64_t vectorBytes() const;
    /// The format's name: "bf16", "int4", ...
    std::string formatName() const;
  }];
  let parameters = (ins "int64_t":$layers, "int64_t":$heads, "int64_t":$dim, "::mlir::Type":$elementType);
  let assemblyFormat = "`<` `layers` `=` $layers `,` `heads` `=` $heads `,` `dim` `=` $dim `,` $elementType `>`";
  let genVerifyDecl = 1;
}

def Qwen_QuantType : Qwen_Type<"Quant", "quant", [MemRefElementTypeInterface]> {
  let summary = "an element that is stored as a small code and shares its scale with a group";
  let description = [{
    The value of an element is `(code - zero) * scale * row_scale`. `storage` is the type of the code: `i8`, `i4` (with
    `zero_points` its codes are 0 to 15), `f4E2M1FN` or `f8E4M3FN`. `group` columns of a row, the whole row if 0, and
    `group_rows` rows share a scale of type `scale`, and with `zero_points` a zero of 0 to 15 (0 to 255 for i8).
    `row_scales` says that each row has a second, f32 scale (NVFP4).

    As the element of a weight it is what quantize-weights chose or the checkpoint holds. As the element of activations
    (`storage` i8, no zero points) it is what `qwen.quantize` makes for a product of integers; then `sums` says for how many
    columns the sum of the codes is kept, a divisor of the group, or the group if 0.

    ```mlir
    !qwen.quant<i4, group = 64, scale = f16>
    !qwen.quant<i8, group = 128, scale = f32, sums = 16>
    !qwen.quant<f8E4M3FN, group = 128, scale = f32, group_rows = 128>
    ```
  }];
  let parameters = (ins "::mlir::Type":$storage, "int64_t":$group, "::mlir::Type":$scale,
                        DefaultValuedParameter<"int64_t", "1">:$group_rows,
                        DefaultValuedParameter<"bool", "false">:$zero_points,
                        DefaultValuedParameter<"bool", "false">:$row_scales,
                        DefaultValuedParameter<"int64_t", "0">:$sums);
  let assemblyFormat = "`<` $storage `,` struct($group, $scale, $group_rows, $zero_points, $row_scales, $sums) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Bits of a code: 4 or 8.
    int64_t codeBits() const;
    /// Bytes of a scale.
    int64_t scaleBytes() const { return getScale().getIntOrFloatBitWidth() / 8; }
    /// Columns of a row of `k` (a multiple of the group) that share a scale.
    int64_t groupColumns(int64_t k) const { return getGroup() == 0 ? k : getGroup(); }
    /// Of activations: columns for which the sum of the codes is kept.
    int64_t sumColumns() const { return getSums() == 0 ? getGroup() : getSums(); }
    /// Of activations of `k` columns: bytes of a row (see qwen.quantize), the columns of its codes, and where its scales and
    /// sums start.
    int64_t rowBytes(int64_t k) const { return rowSumsAt(k) + codeColumns(k) / sumColumns() * 4; }
    int64_t codeColumns(int64_t k) const { return (k + sumColumns() - 1) / sumColumns() * sumColumns(); }
    int64_t rowScalesAt(int64_t k) const { return codeColumns(k); }
    int64_t rowSumsAt(int64_t k) const { return rowScalesAt(k) + (k + getGroup() - 1) / getGroup() * 4; }
    /// Whether products with this weight are of integers: codes that an 8-bit integer holds exactly.
    bool isInteger() const;
  }];
}

//===-- Attributes ----------------------------------------------------------------------------------------------===//

class Qwen_Attr<string name, string attrMnemonic> : AttrDef<Qwen_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def Qwen_Activation : I32EnumAttr<"Activation", "what a linear map does with its result", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Swiglu", 1, "swiglu">]> {
  let cppNamespace = "::qwench::qwen";
}

def Qwen_RotaryKind : I32EnumAttr<"RotaryKind", "how rotary frequencies depend on the context length", [
    I32EnumAttrCase<"Fixed", 0, "fixed">,
    I32EnumAttrCase<"Dynamic", 1, "dynamic">,
    I32EnumAttrCase<"Longrope", 2, "longrope">]> {
  let cppNamespace = "::qwench::qwen";
}

def Qwen_LayoutAttr : Qwen_Attr<"Layout", "layout"> {
  let summary = "how a weight lies in the packed weight section";
  let description = [{
    `K'` is `K` rounded up to a multiple of `align`; what is padded holds zeros.
    `rows`: element `(n, k)` of a matrix `[N, K]` lies at `n * K' + k`; a vector `[N]` is one such row of `K = N`.
    `panels`: `N` is cut into panels of `width` rows, `K` into steps of `depth` (which divides `align`); element `(n, k)`
    lies at `((n / width * (K' / depth) + k / depth) * width + n % width) * depth + k % depth`, with `N' / width` panels
    for `N'`, `N` rounded up to a multiple of `width`. With `pair_halves` the rows are a gate half and an up half of
    `N / 2` each, and each half is rounded up to a multiple of `width` by itself: the first `width / 2` lanes of panel
    `p` are gate rows `p * width / 2 ..`, the other lanes the up rows of the same numbers.
    A stack `[E, N, K]` is E matrices one after another.

    A matrix of `!qwen.quant` lies in panels of `width` = 32, `align` a multiple of its group. A panel holds, without
    gaps and rounded up to 64 bytes: the row scales, `width` f32, if the type has them or its group is a whole row (whose
    scales they then are); and for each group of columns its `width` scales, its `width` zero points of one byte if the
    type has them, and its codes in steps of `depth` columns. A step of 8-bit codes is `(n % width) * depth + k % depth`
    as above; byte `b` of a step of 4-bit codes holds lane `b / depth` in its low and lane `width / 2 + b / depth` in its
    high half, of column `b % depth`. Codes of i8 are stored plus 128, of i4 without zero points plus 8, others as they
    are; what is padded has scale 0. Scales are stored for each row also where `group_rows` is more than 1.
    `planes` is `panels`, but a panel of `!qwen.quant` holds first the codes of all its groups, then the row scales, then the
    scales of all groups, then all zero points. Codes are then 16-byte pieces one after another from the panel's start.
    `swizzled` is `panels` of 2-byte elements with `width` = 8 and `depth` = 64, but the eight pieces of 16 bytes of a row's step
    are exchanged: piece `p` of row `n` stands where piece `p ^ n % 8` would.
  }];
  let parameters = (ins StringRefParameter<"rows, panels, planes or swizzled">:$kind, "int64_t":$width, "int64_t":$depth,
                        "int64_t":$align, "bool":$pairHalves);
  let assemblyFormat = [{
    `<` $kind `,` `width` `=` $width `,` `depth` `=` $depth `,` `align` `=` $align `,` `pair_halves` `=` $pairHalves `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isPanels() const { return getKind() != "rows"; }
    bool isPlanes() const { return getKind() == "planes"; }
    bool isSwizzled() const { return getKind() == "swizzled"; }
    /// K of a matrix, padded.
    int64_t paddedInputs(int64_t k) const { return (k + getAlign() - 1) / getAlign() * getAlign(); }
    /// N of a matrix (both halves with pair_halves), padded.
    int64_t paddedOutputs(int64_t n) const;
    /// Elements of one matrix [N, K], padding included; of a vector [N] with n = 1, k = N.
    int64_t matrixElements(int64_t n, int64_t k) const { return paddedOutputs(n) * paddedInputs(k); }
    /// Elements of a whole weight of this type, padding included.
    int64_t elements(::mlir::RankedTensorType type) const;
    /// Bytes of `width` rows of k columns of a matrix in panels (of one row in rows).
    int64_t panelBytes(int64_t k, ::mlir::Type element) const;
    /// Bytes of one matrix [N, K]; of a vector [N] with n = 1, k = N.
    int64_t matrixBytes(int64_t n, int64_t k, ::mlir::Type element) const;
    /// Bytes of a whole weight of this type.
    int64_t bytes(::mlir::RankedTensorType type) const;
  }];
}

def Qwen_PlanAttr : Qwen_Attr<"Plan", "plan"> {
  let summary = "totals of the planned stage";
  let parameters = (ins "int64_t":$arenaBytes, "int64_t":$threadScratchBytes, "int64_t":$weightBytes,
                        "int64_t":$cacheBytesPerPosition, "int64_t":$cacheGranule, "int64_t":$prefillRows,
                        "int64_t":$decodeRows);
  let assemblyFormat = "`<` struct(params) `>`";
}

#endif
