// Vectors of numbers, and how the channels of an image lie in them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

namespace darts {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// N numbers that may lie anywhere.
template <class T, int N>
struct VectorOf {
  typedef T type __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T, int N>
using Vec = typename VectorOf<T, N>::type;

template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class T, int N>
inline Vec<T, N> load(const T* from) {
  return *reinterpret_cast<const Vec<T, N>*>(from);
}

template <class T, int N>
inline void store(T* to, Vec<T, N> value) {
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}

template <class T, int N>
inline Vec<T, N> load_part(const T* from, int64_t count) {
  if (count >= N) return load<T, N>(from);
  Vec<T, N> value{};
  std::memcpy(&value, from, count * sizeof(T));
  return value;
}

template <class T, int N>
inline void store_part(T* to, Vec<T, N> value, int64_t count) {
  if (count >= N) return store<T, N>(to, value);
  std::memcpy(to, &value, count * sizeof(T));
}

// Zeros in place of numbers whose gate is not positive. What is not a number passes, so
// that it is seen.
template <class T>
void copy_gated(const T* from, const T* gate, int64_t count, T* to) {
  constexpr int V = kLanes<T>;
  const Vec<T, V> zero{};
  int64_t i = 0;
  for (; i + V <= count; i += V)
    store<T, V>(to + i, load<T, V>(gate + i) <= zero ? zero : load<T, V>(from + i));
  for (; i < count; ++i) to[i] = gate[i] <= 0 ? T(0) : from[i];
}

// Asks for numbers that will be read soon.
template <class T>
void prefetch(const T* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 64 / sizeof(T)) __builtin_prefetch(from + i);
}

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Blocks that a thread has freed, for its next ones. Kernels take dozens at every call, and
// the C library hands those of some size back to the system, page by page.
class Blocks {
 public:
  static Blocks& of_thread() {
    thread_local Blocks blocks;
    return blocks;
  }
  ~Blocks() {
    for (const auto& blocks : free_)
      for (void* block : blocks) std::free(block);
  }

  // Of 64 << kind bytes, at the border of a cache line.
  void* take(int kind) {
    if (kind >= kKinds || free_[kind].empty()) return std::aligned_alloc(64, 64LL << kind);
    void* block = free_[kind].back();
    free_[kind].pop_back();
    return block;
  }

  void give(void* block, int kind) {
    if (kind >= kKinds || free_[kind].size() >= kKept) return std::free(block);
    free_[kind].push_back(block);
  }

  static int kind_of(int64_t bytes) {
    int kind = 0;
    while (64LL << kind < bytes) ++kind;
    return kind;
  }

 private:
  static constexpr int kKinds = 14;  // up to half a megabyte
  static constexpr size_t kKept = 8;
  std::vector<void*> free_[kKinds];
};

// Numbers at the border of a cache line, zero at first unless they will all be written.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size, bool zero = true)
      : kind_(Blocks::kind_of(size * sizeof(T))),
        data_(static_cast<T*>(Blocks::of_thread().take(kind_)), Free{kind_}) {
    if (zero) std::memset(data_.get(), 0, size * sizeof(T));
  }
  T* get() const { return data_.get(); }

 private:
  struct Free {
    int kind;
    void operator()(T* data) const { Blocks::of_thread().give(data, kind); }
  };
  int kind_;
  std::unique_ptr<T, Free> data_;
};

// A row of pixels, channels last, cut into vectors regardless of where pixels end.
// Vectors that are `period` numbers apart hold the same channels in the same lanes: they
// are of one kind.
struct Lanes {
  int64_t channels, lanes, period;

  Lanes(int64_t channels, int64_t lanes)
      : channels(channels),
        lanes(lanes),
        period(std::lcm(channels, lanes)) {}

  // Repeats rows of numbers per channel [rows, channel] as vectors [row, kind, lane].
  template <class T>
  Buffer<T> spread(const T* rows, int64_t count) const {
    Buffer<T> result(count * period, false);
    for (int64_t r = 0; r < count; ++r)
      for (int64_t f = 0; f < period; f += channels)
        std::memcpy(result.get() + r * period + f, rows + r * channels,
                    channels * sizeof(T));
    return result;
  }

  // The way back: vectors [row, kind, lane] are added up by channel [row, channel].
  template <class T>
  void gather(const T* vectors, int64_t count, T* rows) const {
    for (int64_t r = 0; r < count; ++r)
      for (int64_t f = 0; f < period; f += channels)
        for (int64_t c = 0; c < channels; ++c)
          rows[r * channels + c] += vectors[r * period + f + c];
  }
};

}  // namespace darts
