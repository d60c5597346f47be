#include "frontends/huggingface/safetensors.h"

#include "frontends/huggingface/json.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace qwench::hf {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor data is used as it lies in the file");

constexpr size_t kLengthBytes = 8;
constexpr size_t kMaxRank = 16;

/// Elements times bits, or nothing if that overflows.
std::optional<uint64_t> countBits(const std::vector<int64_t> &shape, DType dtype) {
  uint64_t product = static_cast<uint64_t>(bits(dtype));
  for (int64_t size : shape)
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(size), &product))
      return std::nullopt;
  return product;
}

/// Reads the entries of one header.
class HeaderReader {
public:
  HeaderReader(std::span<const std::byte> data, std::string_view where) : data(data), where(where) {}

  Result<TensorView> readTensor(const std::string &name, const Json &entry) {
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets"))
      return fail(name, "expected an object of dtype, shape and data_offsets");
    TensorView view;
    view.name = name;
    const Json &dtype = entry.at("dtype");
    std::optional<DType> parsed = dtype.is_string() ? parseDType(dtype.get<std::string>()) : std::nullopt;
    if (!parsed)
      return fail(name, "expected a known dtype, found " + show(dtype));
    view.dtype = *parsed;
    if (Status status = readShape(entry.at("shape"), view); !status)
      return status.takeError();
    if (Status status = readOffsets(entry.at("data_offsets"), view); !status)
      return status.takeError();
    return view;
  }

  Error fail(const std::string &name, const std::string &message) const {
    return userError(std::string(where) + ": tensor " + show(name) + ": " + message);
  }

private:
  Status readShape(const Json &shape, TensorView &view) {
    if (!shape.is_array() || shape.size() > kMaxRank)
      return fail(view.name, "expected shape to be a list of at most " + std::to_string(kMaxRank) +
                                 ", found " + show(shape));
    for (const Json &size : shape) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
        return fail(view.name, "expected sizes of at least 0 in shape, found " + show(size));
      view.shape.push_back(size.get<int64_t>());
    }
    return ok();
  }

  Status readOffsets(const Json &offsets, TensorView &view) {
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      return fail(view.name, "expected data_offsets to be two numbers of at least 0, found " + show(offsets));
    uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    if (begin > end)
      return fail(view.name, "expected data_offsets in ascending order, found [" + std::to_string(begin) +
                                 ", " + std::to_string(end) + "]");
    std::optional<uint64_t> tensorBits = countBits(view.shape, view.dtype);
    if (!tensorBits)
      return fail(view.name,
                  "expected a size that fits into 64 bits, found shape " + formatShape(view.shape));
    if (*tensorBits % 8 != 0 || *tensorBits / 8 != end - begin)
      return fail(view.name, "expected " + std::to_string((*tensorBits + 7) / 8) + " bytes for " +
                                 std::string(qwench::hf::name(view.dtype)) + " " + formatShape(view.shape) +
                                 ", found data_offsets of " + std::to_string(end - begin) + " bytes");
    if (end > data.size())
      return fail(view.name, "expected data up to byte " + std::to_string(end) + ", found a file with " +
                                 std::to_string(data.size()) + " bytes of data (truncated?)");
    view.data = data.data() + begin;
    view.bytes = end - begin;
    return ok();
  }

  std::span<const std::byte> data;
  std::string_view where;
};

/// The tensors, sorted by their data, have to cover it exactly.
Status checkCoverage(std::vector<TensorView> &views, std::span<const std::byte> data,
                     std::string_view where) {
  std::sort(views.begin(), views.end(), [](const TensorView &a, const TensorView &b) {
    return std::pair(a.data, a.bytes) < std::pair(b.data, b.bytes);
  });
  const std::byte *next = data.data();
  for (const TensorView &view : views) {
    std::string found = "data at byte " + std::to_string(view.data - data.data());
    std::string expected = "data at byte " + std::to_string(next - data.data());
    if (view.data != next)
      return userError(std::string(where) + ": tensor " + show(view.name) + ": expected " + expected +
                       ", found " + found +
                       (view.data < next ? " (tensors overlap)" : " (a gap between tensors)"));
    next += view.bytes;
  }
  auto covered = static_cast<size_t>(next - data.data());
  if (covered != data.size())
    return userError(std::string(where) + ": expected " + std::to_string(covered) +
                     " bytes of data as the header says, found " + std::to_string(data.size()));
  return ok();
}

/// The header's text, after checking its length against the file's.
Result<std::string_view> headerText(std::span<const std::byte> file, std::string_view where) {
  if (file.size() < kLengthBytes)
    return userError(std::string(where) + ": expected at least 8 bytes of a safetensors file, found " +
                     std::to_string(file.size()));
  constexpr std::string_view pointer = "version https://git-lfs";
  if (std::string_view(reinterpret_cast<const char *>(file.data()), file.size()).starts_with(pointer))
    return userError(std::string(where) + ": expected a safetensors file, found a Git LFS pointer (the file "
                                          "itself was not downloaded)");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kMaxSafetensorsHeader)
    return userError(std::string(where) + ": expected a header of at most " +
                     std::to_string(kMaxSafetensorsHeader) + " bytes, found a length of " +
                     std::to_string(length));
  if (length > file.size() - kLengthBytes)
    return userError(std::string(where) + ": expected a header of " + std::to_string(length) +
                     " bytes, found a file of " + std::to_string(file.size()) + " bytes (truncated?)");
  return std::string_view(reinterpret_cast<const char *>(file.data()) + kLengthBytes, length);
}

Status checkMetadata(const Json &metadata, std::string_view where) {
  bool strings = metadata.is_object();
  if (strings)
    for (const auto &[key, value] : metadata.items())
      strings &= value.is_string();
  if (!strings)
    return userError(std::string(where) + ": expected __metadata__ to be an object of strings, found " +
                     show(metadata));
  return ok();
}

void advise(const TensorView &view, int advice) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto begin = reinterpret_cast<uintptr_t>(view.data), end = begin + view.bytes;
  begin -= begin % page;
  if (view.bytes != 0)
    madvise(reinterpret_cast<void *>(begin), end - begin, advice);
}

} // namespace

std::string formatShape(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Result<std::vector<TensorView>> parseSafetensors(std::span<const std::byte> file, std::string_view where) {
  Result<std::string_view> text = headerText(file, where);
  if (!text)
    return text.takeError();
  Result<Json> header = parseJson(*text, where);
  if (!header)
    return header.takeError();
  if (!header->is_object())
    return userError(std::string(where) + ": expected the header to be a JSON object, found " +
                     show(*header));
  std::span<const std::byte> data = file.subspan(kLengthBytes + text->size());
  HeaderReader reader(data, where);
  std::vector<TensorView> views;
  for (const auto &[name, entry] : header->items()) {
    if (name == "__metadata__") {
      if (Status status = checkMetadata(entry, where); !status)
        return status.takeError();
      continue;
    }
    Result<TensorView> view = reader.readTensor(name, entry);
    if (!view)
      return view.takeError();
    views.push_back(view.take());
  }
  if (Status status = checkCoverage(views, data, where); !status)
    return status.takeError();
  return views;
}

Result<MappedFile> MappedFile::open(const std::string &path) {
  auto failed = [&](const char *what) {
    return userError(std::string("cannot ") + what + " " + path + ": " + std::strerror(errno));
  };
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return failed("open");
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat info{};
  if (fstat(fd, &info) != 0)
    return failed("read");
  if (!S_ISREG(info.st_mode))
    return userError("expected a file, found something else at " + path);
  MappedFile file;
  file.size = static_cast<size_t>(info.st_size);
  if (file.size == 0)
    return file;
  void *address = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED)
    return failed("map");
  file.data = std::shared_ptr<const std::byte>(
      static_cast<const std::byte *>(address),
      [size = file.size](const std::byte *p) { munmap(const_cast<std::byte *>(p), size); });
  return file;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string &path) {
  Result<MappedFile> mapped = MappedFile::open(path);
  if (!mapped)
    return mapped.takeError();
  SafetensorsFile file;
  file.filePath = path;
  file.file = mapped.take();
  Result<std::vector<TensorView>> parsed = parseSafetensors(file.file.bytes(), path);
  if (!parsed)
    return parsed.takeError();
  auto views = std::make_shared<const std::vector<TensorView>>(parsed.take());
  auto byName = std::make_shared<std::map<std::string_view, size_t>>();
  for (size_t i = 0; i < views->size(); ++i)
    byName->emplace((*views)[i].name, i);
  file.views = std::move(views);
  file.byName = std::move(byName);
  return file;
}

const TensorView *SafetensorsFile::find(std::string_view name) const {
  auto it = byName->find(name);
  return it == byName->end() ? nullptr : &(*views)[it->second];
}

void adviseSequential(const TensorView &view) {
  advise(view, MADV_SEQUENTIAL);
  advise(view, MADV_WILLNEED);
}

void release(const TensorView &view) { advise(view, MADV_DONTNEED); }

} // namespace qwench::hf
