#include "tests/e2e/golden.h"

#include "tests/e2e/process.h"

namespace qwench::e2e {

nlohmann::json readJson(const std::string &path) { return nlohmann::json::parse(readFile(path)); }

const nlohmann::json &manifest() {
  static const nlohmann::json value = readJson(QWENCH_SOURCE_DIR "/tests/golden/manifest.json");
  return value;
}

} // namespace qwench::e2e
