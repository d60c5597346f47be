// The qwen dialect: include this for its types, attributes and ops.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/QwenDialect.h.inc"

#include "dialects/QwenEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/QwenAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/QwenTypes.h.inc"

#define GET_OP_CLASSES
#include "dialects/QwenOps.h.inc"

namespace qwench::qwen {

/// The `qwen.weight` that a param names; null if there is none.
WeightOp lookupWeight(ParamOp param);

/// The weight behind a value that a `qwen.param` made; null if it is something else.
WeightOp lookupWeight(mlir::Value value);

} // namespace qwench::qwen
