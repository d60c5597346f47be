// Where all blocks of a cooperative kernel meet.
#pragma once

#include "compiler/target/gpu/device.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace qwench::gpu {

/// Every thread of every block waits until all have come; what they wrote to global memory before, all read after. `batch` is
/// the step, whose team is the counter. What `meanwhile` builds, all threads do between coming and waiting: it may read only what
/// no block has written.
void emitGridBarrier(mlir::ImplicitLocOpBuilder &b, mlir::Value batch, mlir::Value block, mlir::Value grid, const GridTraits &traits,
                     llvm::function_ref<void()> meanwhile);

} // namespace qwench::gpu
