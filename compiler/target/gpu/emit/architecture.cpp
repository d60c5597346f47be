#include "compiler/target/gpu/emit/architecture.h"

#include "llvm/ADT/STLExtras.h"

namespace qwench::gpu {

Result<std::vector<const Architecture *>> chooseArchitectures(llvm::ArrayRef<Architecture> table,
                                                              llvm::ArrayRef<std::string> names) {
  std::string known;
  for (const Architecture &entry : table)
    known += (known.empty() ? "" : ", ") + entry.name.str();
  if (names.empty())
    return userError("expected --gpu with one or more of " + known + ", found none");
  std::vector<const Architecture *> chosen;
  for (const std::string &name : names) {
    const auto *found = llvm::find_if(table, [&](const Architecture &entry) { return entry.name == name; });
    if (found == table.end())
      return userError("expected a GPU architecture for --gpu, found '" + name + "'; known are: " + known);
    if (!llvm::is_contained(chosen, found))
      chosen.push_back(found);
  }
  return chosen;
}

} // namespace qwench::gpu
