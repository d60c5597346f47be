// What a GPU architecture has. Each backend has one table of those it makes code for.
#pragma once

#include "compiler/target/gpu/device.h"
#include "runtime/abi/result.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace qwench::gpu {

struct Architecture {
  llvm::StringLiteral name; ///< as --gpu and LLVM call it
  int subgroupSize;         ///< lanes
  MatrixUnit matrix;        ///< the one that a subgroup uses by itself
  bool wgmma;               ///< whether four subgroups can use one together (MatrixUnit::Wgmma)
  bool asyncCopies;         ///< from global to workgroup memory
  bool dependentLaunches;   ///< whether a kernel can begin while the launch before it runs, and wait for that
  int sharedBytes;          ///< most workgroup memory of a block
  int loadsAhead;           ///< of a thread, with which no kernel spills
  GridTraits grid;

  /// Of which four subgroups multiply together, if they can and `together`; whose launches are dependent, if `dependent`.
  Device device(bool together, bool dependent) const {
    return {name.str(), subgroupSize, together ? MatrixUnit::Wgmma : matrix, asyncCopies, dependent, sharedBytes, loadsAhead, grid};
  }
};

/// The architectures of those names, without repetition, in the order given. An unknown one, or none, is an error that
/// lists the table.
Result<std::vector<const Architecture *>> chooseArchitectures(llvm::ArrayRef<Architecture> table,
                                                              llvm::ArrayRef<std::string> names);

} // namespace qwench::gpu
