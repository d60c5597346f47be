// Every pass over the qwen dialect. The flag, the class, the file and the test of a pass have one name.
#ifndef QWENCH_PASSES_PASSES_TD
#define QWENCH_PASSES_PASSES_TD

include "mlir/Pass/PassBase.td"

//===-- Normalize -----------------------------------------------------------------------------------------------===//

def DecomposeExperts : Pass<"decompose-experts", "::mlir::ModuleOp"> {
  let summary = "qwen.experts becomes dispatch, grouped linear maps and combine";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
}

def PruneWeights : Pass<"prune-weights", "::mlir::ModuleOp"> {
  let summary = "removes weights that no param and no part of a used weight names";
  let statistics = [Statistic<"removed", "removed", "weights removed">];
}

//===-- Quantize ------------------------------------------------------------------------------------------------===//

def QuantizeWeights : Pass<"quantize-weights", "::mlir::ModuleOp"> {
  let summary = "chooses the formats of weights: element types of the matrices that enter products";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
  let options = [
    Option<"dtype", "dtype", "std::string", /*default=*/"\"\"", "format of all weights of products; empty: as imported">,
    Option<"dtypeFor", "dtype-for", "std::string", /*default=*/"\"\"",
           "PATTERN=FORMAT,...: formats of the weights whose tensors a glob names; later ones win">,
    Option<"groupSize", "group-size", "int64_t", /*default=*/"0",
           "columns that share a scale of int8 and int4; 0: the format's own">];
}

//===-- Fuse ----------------------------------------------------------------------------------------------------===//

class Qwen_Fusion<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::qwench::qwen::QwenDialect", "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect"];
}

def FuseQkv : Qwen_Fusion<"fuse-qkv"> {
  let summary = "q, k and v are one projection of one weight, and columns of it";
}

def FuseRopeCache : Qwen_Fusion<"fuse-rope-cache"> {
  let summary = "QK-norm, RoPE and the cache write are one pass over the fused projection";
}

def FuseSwiglu : Qwen_Fusion<"fuse-swiglu"> {
  let summary = "gate and up are one projection with SiLU * mul behind it";
}

def FuseRouter : Qwen_Fusion<"fuse-router"> {
  let summary = "router projection, softmax, top-k and renormalisation are one op";
}

def FuseGroupedSwiglu : Qwen_Fusion<"fuse-grouped-swiglu"> {
  let summary = "the experts' gate and up are one grouped projection with SiLU * mul behind it";
}

def FuseCombine : Qwen_Fusion<"fuse-combine"> {
  let summary = "the experts' down projection weights and sums its results itself";
}

def FuseNorm : Qwen_Fusion<"fuse-norm"> {
  let summary = "a norm that only one linear map reads becomes part of it";
}

def FuseResidual : Qwen_Fusion<"fuse-residual"> {
  let summary = "a linear map adds the residual itself";
}

//===-- Plan ----------------------------------------------------------------------------------------------------===//

def SplitAttention : Pass<"split-attention", "::mlir::ModuleOp"> {
  let summary = "attention cuts the keys of a row into runs and combines them";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
  let options = [Option<"splits", "splits", "int64_t", "4", "runs of the keys">,
                 Option<"keys", "keys", "int64_t", "64", "positions of a block that no run divides">];
}

def SplitCombine : Pass<"split-combine", "::mlir::ModuleOp"> {
  let summary = "grouped linear maps that combine their results become two ops";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
}

def SplitRouter : Pass<"split-router", "::mlir::ModuleOp"> {
  let summary = "routers with their projection become a linear map and a router";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
}

def SpreadNorm : Pass<"spread-norm", "::mlir::ModuleOp"> {
  let summary = "norms that several linear maps read are computed by each of them";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
}

def JoinDispatch : Pass<"join-dispatch", "::mlir::ModuleOp"> {
  let summary = "a router and the dispatch of what it chose become one op";
  let dependentDialects = ["::qwench::qwen::QwenDialect"];
}

//===-- Check ---------------------------------------------------------------------------------------------------===//

def CheckModel : Pass<"check-model", "::mlir::ModuleOp"> {
  let summary = "verifies what the model stage promises: model-level ops on tensors, weights that come from a source";
}

def CheckFused : Pass<"check-fused", "::mlir::ModuleOp"> {
  let summary = "verifies what the fused stage promises: no qwen.experts, tensors only, every weight used or a part";
}

def CheckPlanned : Pass<"check-planned", "::mlir::ModuleOp"> {
  let summary = "verifies what the planned stage promises: tile programs on buffers of the arena, weights with a place";
}

def CheckLowered : Pass<"check-lowered", "::mlir::ModuleOp"> {
  let summary = "verifies what the lowered stage promises: the LLVM dialect only, calls only to functions of the ABI list";
}

#endif
