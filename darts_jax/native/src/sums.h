// Sums over the pixels of every channel.
#ifndef DARTS_JAX_SUMS_H_
#define DARTS_JAX_SUMS_H_

#include <vector>

#include "parallel.h"
#include "vectors.h"

namespace darts {

// Numbers that are added up in registers before they join a sum of wider numbers.
constexpr int64_t kRun = 1 << 13;

// Adds the sums of first(a, b) and of second(a, b) by channel to totals [2, channel].
template <class T, class First, class Second>
void add_sums(const T* a, const T* b, int64_t size, const Lanes& lanes, double* totals,
              const First& first, const Second& second) {
  constexpr int V = kLanes<T>;
  const int64_t run = round_up(kRun, 4 * lanes.period);
  for (int64_t kind = 0; kind < lanes.period; kind += V)
    for (int64_t begin = 0; begin < size; begin += run) {
      const int64_t end = std::min(size, begin + run);
      Vec<T, V> sums[2][4] = {};
      int64_t f = begin + kind;
      for (; f + 3 * lanes.period + V <= end; f += 4 * lanes.period)
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u) {
          const Vec<T, V> x = load<T, V>(a + f + u * lanes.period);
          const Vec<T, V> y = load<T, V>(b + f + u * lanes.period);
          sums[0][u] += first(x, y, kind);
          sums[1][u] += second(x, y, kind);
        }
      for (; f + V <= end; f += lanes.period) {
        const Vec<T, V> x = load<T, V>(a + f), y = load<T, V>(b + f);
        sums[0][0] += first(x, y, kind);
        sums[1][0] += second(x, y, kind);
      }
      Vec<T, V> both[2];
      for (int s = 0; s < 2; ++s)
        both[s] = (sums[s][0] + sums[s][1]) + (sums[s][2] + sums[s][3]);
      if (f < end) {  // a part of a vector
        Vec<T, V> x{}, y{}, zero{};
        std::memcpy(&x, a + f, (end - f) * sizeof(T));
        std::memcpy(&y, b + f, (end - f) * sizeof(T));
        const Vec<T, V> one = first(x, y, kind), two = second(x, y, kind);
        for (int64_t l = 0; l < end - f; ++l) {
          both[0][l] += one[l];
          both[1][l] += two[l];
        }
      }
      for (int s = 0; s < 2; ++s)
        for (int64_t l = 0; l < V; ++l)
          totals[s * lanes.channels + (kind + l) % lanes.channels] += both[s][l];
    }
}

constexpr int64_t kSumParts = 8;

// totals [2, channel] of arrays [pixel, channel], added up in parts of fixed size.
template <class T, class First, class Second>
void sum_pairs(xla::ffi::ThreadPool& pool, const T* a, const T* b, int64_t pixels,
               const Lanes& lanes, double* totals, const First& first,
               const Second& second) {
  const int64_t c = lanes.channels;
  const int64_t parts = pixels * c < 4 * kRun ? 1 : kSumParts;
  std::vector<double> partial(parts * 2 * c);
  parallel_for(pool, parts, [&](int64_t p) {
    const int64_t begin = p * pixels / parts * c, end = (p + 1) * pixels / parts * c;
    add_sums(a + begin, b + begin, end - begin, lanes, partial.data() + p * 2 * c, first,
             second);
  });
  std::fill_n(totals, 2 * c, 0.0);
  for (int64_t p = 0; p < parts; ++p)
    for (int64_t i = 0; i < 2 * c; ++i) totals[i] += partial[p * 2 * c + i];
}

// Sums of the distances of numbers from an origin, and of their squares, by channel:
// part by part, so that parts can be made by any thread and join in their order.
template <class T>
class Deviations {
 public:
  // origin [edge, channel]; every edge has as many parts, one after the other.
  Deviations(const T* origin, int64_t edges, int64_t parts, int64_t channels)
      : origin_(origin),
        edges_(edges),
        parts_(parts),
        lanes_(channels, kLanes<T>),
        origins_(lanes_.spread(origin, edges)),
        totals_(parts * 2 * channels) {}

  // Numbers [pixel, channel] of a part, which belongs to an edge.
  void add(int64_t part, int64_t edge, const T* numbers, int64_t size) {
    constexpr int V = kLanes<T>;
    const T* origin = origins_.get() + edge * lanes_.period;
    add_sums(
        numbers, numbers, size, lanes_, totals_.data() + part * 2 * lanes_.channels,
        [origin](Vec<T, V> a, Vec<T, V>, int64_t kind) {
          return a - load<T, V>(origin + kind);
        },
        [origin](Vec<T, V> a, Vec<T, V>, int64_t kind) {
          const Vec<T, V> distance = a - load<T, V>(origin + kind);
          return distance * distance;
        });
  }

  // Mean and biased variance [edge, 2, channel] of so many pixels of each edge.
  void moments(int64_t pixels, T* result) const {
    const int64_t c = lanes_.channels, of_edge = parts_ / edges_;
    for (int64_t e = 0; e < edges_; ++e)
      for (int64_t k = 0; k < c; ++k) {
        double sum = 0, squares = 0;
        for (int64_t p = e * of_edge; p < (e + 1) * of_edge; ++p) {
          sum += totals_[p * 2 * c + k];
          squares += totals_[(p * 2 + 1) * c + k];
        }
        const double mean = sum / pixels;
        result[e * 2 * c + k] = T(origin_[e * c + k] + mean);
        const double variance = squares / pixels - mean * mean;
        result[(e * 2 + 1) * c + k] = T(variance < 0 ? 0 : variance);  // NaN stays
      }
  }

 private:
  const T* origin_;
  int64_t edges_, parts_;
  Lanes lanes_;
  Buffer<T> origins_;
  std::vector<double> totals_;
};

// Mean and biased variance of every channel: result [edge, 2, channel]. Numbers are taken
// relative to `origin`, so that a mean far from zero cancels few digits.
template <class T>
void moments(xla::ffi::ThreadPool& pool, const T* x, const T* origin, int64_t edges,
             int64_t pixels, int64_t channels, T* result) {
  const int64_t parts = pixels * channels < 4 * kRun ? 1 : kSumParts;
  Deviations<T> deviations(origin, edges, edges * parts, channels);
  parallel_for(pool, edges * parts, [&](int64_t i) {
    const int64_t e = i / parts, p = i % parts;
    const int64_t begin = p * pixels / parts, end = (p + 1) * pixels / parts;
    deviations.add(i, e, x + (e * pixels + begin) * channels, (end - begin) * channels);
  });
  deviations.moments(pixels, result);
}

// Sums of a and of a * b by channel: result [edge, 2, channel].
template <class T>
void channel_sums(xla::ffi::ThreadPool& pool, const T* a, const T* b, int64_t edges,
                  int64_t pixels, int64_t channels, T* result) {
  constexpr int V = kLanes<T>;
  const Lanes lanes(channels, V);
  std::vector<double> totals(2 * channels);
  for (int64_t e = 0; e < edges; ++e) {
    const int64_t begin = e * pixels * channels;
    sum_pairs(
        pool, a + begin, b + begin, pixels, lanes, totals.data(),
        [](Vec<T, V> a, Vec<T, V>, int64_t) { return a; },
        [](Vec<T, V> a, Vec<T, V> b, int64_t) { return a * b; });
    std::copy_n(totals.data(), 2 * channels, result + e * 2 * channels);
  }
}

// result = (t - mean(t) - y * mean(y * t)) * scale by channel: what batch normalisation
// to y does to a change t, and to a cotangent too.
template <class T>
void project(xla::ffi::ThreadPool& pool, const T* t, const T* y, const T* scale,
             int64_t edges, int64_t pixels, int64_t channels, T* result) {
  constexpr int V = kLanes<T>;
  const Lanes lanes(channels, V);
  const int64_t size = pixels * channels;
  std::vector<T> sums(2 * channels);
  for (int64_t e = 0; e < edges; ++e) {
    const T *ts = t + e * size, *ys = y + e * size;
    channel_sums(pool, ts, ys, 1, pixels, channels, sums.data());
    for (T& sum : sums) sum /= T(pixels);
    const Buffer<T> means = lanes.spread(sums.data(), 2);
    const Buffer<T> scales = lanes.spread(scale + e * channels, 1);
    const int64_t run = round_up(kRun, lanes.period);
    parallel_for(pool, (size + run - 1) / run, [&](int64_t i) {
      const int64_t begin = i * run, end = std::min(size, begin + run);
      for (int64_t kind = 0; kind < lanes.period; kind += V) {
        const Vec<T, V> mean = load<T, V>(means.get() + kind);
        const Vec<T, V> along = load<T, V>(means.get() + lanes.period + kind);
        const Vec<T, V> by = load<T, V>(scales.get() + kind);
        int64_t f = begin + kind;
        for (; f + V <= end; f += lanes.period) {
          const Vec<T, V> centred = load<T, V>(ts + f) - mean;
          store<T, V>(result + e * size + f, (centred - load<T, V>(ys + f) * along) * by);
        }
        for (; f < end; ++f) {
          const int64_t lane = f - begin - kind;
          if (lane % lanes.period >= V) break;
          const int64_t l = lane % lanes.period;
          result[e * size + f] = (ts[f] - mean[l] - ys[f] * along[l]) * by[l];
        }
      }
    });
  }
}

}  // namespace darts

#endif  // DARTS_JAX_SUMS_H_
