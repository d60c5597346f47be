// The qwen dialect: what a Qwen3 program means. See RATIONALE.md for why it looks like this.
#ifndef QWENCH_DIALECTS_QWENDIALECT_TD
#define QWENCH_DIALECTS_QWENDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinAttributes.td"

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

class Qwen_Type<string name, string typeMnemonic> : TypeDef<Qwen_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Qwen_BatchType : Qwen_Type<"Batch", "batch"> {
  let summary = "the rows of one step";
  let description = [{
    For each of `T` rows: token id, position in its sequence, cache slot of the sequence, and the sequence's known
    length; and the list of the `O` rows whose logits are wanted. Rows of one sequence stand in ascending, consecutive
    positions.
  }];
}

def Qwen_CacheType : Qwen_Type<"Cache", "cache"> {
  let summary = "the keys and values of every layer, by slot, head and position";
  let parameters = (ins "int64_t":$layers, "int64_t":$heads, "int64_t":$dim, "::mlir::Type":$elementType);
  let assemblyFormat = "`<` `layers` `=` $layers `,` `heads` `=` $heads `,` `dim` `=` $dim `,` $elementType `>`";
  let genVerifyDecl = 1;
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
  }];
  let parameters = (ins StringRefParameter<"rows or panels">:$kind, "int64_t":$width, "int64_t":$depth,
                        "int64_t":$align, "bool":$pairHalves);
  let assemblyFormat = [{
    `<` $kind `,` `width` `=` $width `,` `depth` `=` $depth `,` `align` `=` $align `,` `pair_halves` `=` $pairHalves `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isPanels() const { return getKind() == "panels"; }
    /// K of a matrix, padded.
    int64_t paddedInputs(int64_t k) const { return (k + getAlign() - 1) / getAlign() * getAlign(); }
    /// N of a matrix (both halves with pair_halves), padded.
    int64_t paddedOutputs(int64_t n) const;
    /// Elements of one matrix [N, K], padding included; of a vector [N] with n = 1, k = N.
    int64_t matrixElements(int64_t n, int64_t k) const { return paddedOutputs(n) * paddedInputs(k); }
    /// Elements of a whole weight of this type, padding included.
    int64_t elements(::mlir::RankedTensorType type) const;
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
