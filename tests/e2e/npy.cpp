#include "tests/e2e/npy.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace qwench::e2e {

namespace {

template <typename T> Array<T> readArray(const std::string &path, const std::string &type) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (bytes.size() < 10 || bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0)
    throw std::runtime_error("no .npy file: " + path);
  size_t headerBytes = static_cast<uint8_t>(bytes[8]) | static_cast<uint8_t>(bytes[9]) << 8;
  std::string header = bytes.substr(10, headerBytes);
  if (header.find("'" + type + "'") == std::string::npos ||
      header.find("'fortran_order': False") == std::string::npos)
    throw std::runtime_error("expected " + type + " in C order in " + path + ", found " + header);
  Array<T> array;
  size_t count = 1;
  for (const char *at = header.c_str() + header.find('(') + 1; *at && *at != ')';) {
    char *end = nullptr;
    int64_t extent = strtoll(at, &end, 10);
    if (end == at)
      break;
    array.shape.push_back(extent);
    count *= extent;
    for (at = end; *at == ',' || *at == ' '; at++)
      ;
  }
  if (bytes.size() != 10 + headerBytes + count * sizeof(T))
    throw std::runtime_error("wrong size: " + path);
  array.values.resize(count);
  std::memcpy(array.values.data(), bytes.data() + 10 + headerBytes, count * sizeof(T));
  return array;
}

} // namespace

Array<float> readFloats(const std::string &path) { return readArray<float>(path, "<f4"); }
Array<int32_t> readIds(const std::string &path) { return readArray<int32_t>(path, "<i4"); }

} // namespace qwench::e2e
