// Batch normalisation's derivatives: of y = (x - mean) / deviation, times a weight, with
// the moments as functions of x.
//
// With P(t) = t - mean(t) - y * mean(y * t), by channel, a change t of x changes y by
// P(t) / deviation; P is its own transpose, so a cotangent t comes back the same way.
#pragma once

#include <cmath>

#include "sums.h"

namespace darts {

// Arrays of all edges: x [edge, pixel, channel], moments [edge, 2, channel], weight
// [edge, channel].
template <class T>
struct Weighted {
  const T* x;
  const T* moments;
  const T* weight;
  int64_t edges, pixels, channels;
  T epsilon;

  int64_t size() const { return pixels * channels; }
};

// One edge's x, and how y = (x - mean) * inverse comes of it.
template <class T>
class Normal {
 public:
  static constexpr int V = kLanes<T>;

  Normal(const T* x, const T* mean, const T* inverse, int64_t pixels, int64_t channels)
      : pixels(pixels),
        lanes(channels, V),
        x_(x),
        mean_(lanes.spread(mean, 1)),
        inverse_(lanes.spread(inverse, 1)) {}

  static Normal of(const Weighted<T>& w, int64_t edge) {
    const T *mean = w.moments + edge * 2 * w.channels, *variance = mean + w.channels;
    std::vector<T> inverse(w.channels);
    for (int64_t k = 0; k < w.channels; ++k)
      inverse[k] = 1 / std::sqrt(variance[k] + w.epsilon);
    return Normal(w.x + edge * w.size(), mean, inverse.data(), w.pixels, w.channels);
  }

  T inverse(int64_t channel) const { return inverse_.get()[channel]; }
  const T* x() const { return x_; }

  // y, of numbers of x whose channels are of a kind.
  Vec<T, V> of_x(Vec<T, V> x, int64_t kind) const {
    return (x - load<T, V>(mean_.get() + kind)) * load<T, V>(inverse_.get() + kind);
  }

  const int64_t pixels;
  const Lanes lanes;

 private:
  const T* x_;
  Buffer<T> mean_, inverse_;
};

// The result is the sum of factors [array, channel] times the arrays, each less its mean
// [array, channel], and of the last of the factors times y.
template <class T, int ARRAYS>
void combine(xla::ffi::ThreadPool& pool, const T* const (&arrays)[ARRAYS],
             const std::vector<T>& means, const Normal<T>& normal,
             const std::vector<T>& factors, T* result) {
  constexpr int V = kLanes<T>, TERMS = ARRAYS + 1;
  const Lanes& lanes = normal.lanes;
  const Buffer<T> all_means = lanes.spread(means.data(), ARRAYS);
  const Buffer<T> all_factors = lanes.spread(factors.data(), TERMS);
  const int64_t size = normal.pixels * lanes.channels, run = round_up(kRun, lanes.period);
  parallel_for(pool, (size + run - 1) / run, [&](int64_t i) {
    const int64_t begin = i * run, end = std::min(size, begin + run);
    for (int64_t kind = 0; kind < lanes.period; kind += V) {
      Vec<T, V> mean[ARRAYS], by[TERMS];
#pragma GCC unroll 8
      for (int a = 0; a < ARRAYS; ++a)
        mean[a] = load<T, V>(all_means.get() + a * lanes.period + kind);
#pragma GCC unroll 8
      for (int a = 0; a < TERMS; ++a)
        by[a] = load<T, V>(all_factors.get() + a * lanes.period + kind);
      const auto write = [&](int64_t f, int64_t count) {
        Vec<T, V> terms[TERMS];
#pragma GCC unroll 8
        for (int a = 0; a < ARRAYS; ++a)
          terms[a] = load_part<T, V>(arrays[a] + f, count) - mean[a];
        terms[ARRAYS] = normal.of_x(load_part<T, V>(normal.x() + f, count), kind);
        Vec<T, V> sum{};
#pragma GCC unroll 8
        for (int a = 0; a < TERMS; ++a) sum += by[a] * terms[a];
        store_part<T, V>(result + f, sum, count);
      };
      int64_t f = begin + kind;
      for (; f + V <= end; f += lanes.period) write(f, V);
      if (f < end) write(f, end - f);
    }
  });
}

// result = P(t) * scale + y * slope by channel; without slope, none. Returns
// [2, channel] sums of t and of y * t.
template <class T>
std::vector<double> project_edge(xla::ffi::ThreadPool& pool, const T* t,
                                 const Normal<T>& normal, const T* scale,
                                 const T* slope, T* result) {
  const int64_t c = normal.lanes.channels;
  const T* const both[] = {t, normal.x()};
  const auto sums = sums_of<T, 2>(pool, both, normal.pixels, normal.lanes,
                                  [&](auto& of, int64_t kind, auto& terms) {
                                    terms[0] = of[0];
                                    terms[1] = of[0] * normal.of_x(of[1], kind);
                                  });
  std::vector<T> means(c), factors(2 * c);
  for (int64_t k = 0; k < c; ++k) {
    means[k] = sums[k] / normal.pixels;
    factors[k] = scale[k];
    factors[c + k] = (slope ? slope[k] : 0) - scale[k] * (sums[c + k] / normal.pixels);
  }
  const T* const arrays[] = {t};
  combine(pool, arrays, means, normal, factors, result);
  return sums;
}

// P(t) * scale for every edge, of numbers that are normal already.
template <class T>
void project(xla::ffi::ThreadPool& pool, const T* t, const T* y, const T* scale,
             int64_t edges, int64_t pixels, int64_t channels, T* result) {
  const std::vector<T> zeros(channels, T(0)), ones(channels, T(1));
  for (int64_t e = 0; e < edges; ++e) {
    const int64_t at = e * pixels * channels;
    const Normal<T> normal(y + at, zeros.data(), ones.data(), pixels, channels);
    project_edge<T>(pool, t + at, normal, scale + e * channels, nullptr, result + at);
  }
}

// What the derivatives of an edge have in common: y's change, P times `scale`.
template <class T>
std::vector<T> scale_of(const Weighted<T>& w, const Normal<T>& normal, int64_t edge) {
  std::vector<T> scale(w.channels);
  for (int64_t k = 0; k < w.channels; ++k)
    scale[k] = normal.inverse(k) * w.weight[edge * w.channels + k];
  return scale;
}

// The change of y * weight along tangents of x and of the weight.
template <class T>
void weighted_change(xla::ffi::ThreadPool& pool, const Weighted<T>& w, const T* x_change,
                     const T* weight_change, T* result) {
  for (int64_t e = 0; e < w.edges; ++e) {
    const auto normal = Normal<T>::of(w, e);
    project_edge<T>(pool, x_change + e * w.size(), normal, scale_of(w, normal, e).data(),
                    weight_change + e * w.channels, result + e * w.size());
  }
}

// Cotangents of x and of the weight, from t.
template <class T>
void weighted_back(xla::ffi::ThreadPool& pool, const Weighted<T>& w, const T* t, T* x_back,
                   T* weight_back) {
  for (int64_t e = 0; e < w.edges; ++e) {
    const auto normal = Normal<T>::of(w, e);
    const auto sums =
        project_edge<T>(pool, t + e * w.size(), normal, scale_of(w, normal, e).data(),
                        nullptr, x_back + e * w.size());
    std::copy_n(sums.begin() + w.channels, w.channels, weight_back + e * w.channels);
  }
}

// How these change along tangents of t, of x and of the weight.
//
// The cotangent of x is s P(t) with s = weight * inverse. Of what is in it, y changes by
// inverse P(x'), and inverse by -inverse^2 mean(y x').
template <class T>
void weighted_back_change(xla::ffi::ThreadPool& pool, const Weighted<T>& w, const T* t,
                          const T* t_change, const T* x_change, const T* weight_change,
                          T* x_back_change, T* weight_back_change) {
  const int64_t c = w.channels;
  for (int64_t e = 0; e < w.edges; ++e) {
    const auto normal = Normal<T>::of(w, e);
    const T* const arrays[] = {t_change + e * w.size(), t + e * w.size(),
                               x_change + e * w.size()};
    const T* const all[] = {arrays[0], arrays[1], arrays[2], normal.x()};
    const auto sums = sums_of<T, 7>(pool, all, w.pixels, normal.lanes,
                                    [&](auto& of, int64_t kind, auto& terms) {
                                      const auto y = normal.of_x(of[3], kind);
                                      for (int a = 0; a < 3; ++a) {
                                        terms[a] = of[a];
                                        terms[3 + a] = y * of[a];
                                      }
                                      terms[6] = of[1] * of[2];
                                    });
    std::vector<T> means(3 * c), factors(4 * c);
    for (int64_t k = 0; k < c; ++k) {
      double mean[7];
      for (int s = 0; s < 7; ++s) mean[s] = sums[s * c + k] / w.pixels;
      for (int a = 0; a < 3; ++a) means[a * c + k] = mean[a];
      const auto [of_dt, of_t, of_dx, y_dt, y_t, y_dx, t_dx] = mean;
      const double inverse = normal.inverse(k), weight = w.weight[e * c + k];
      const double scale = weight * inverse;
      const double scale_change =
          weight_change[e * c + k] * inverse - scale * inverse * y_dx;
      const double dy_t = inverse * (t_dx - of_dx * of_t - y_dx * y_t);
      const double of_y_change = -scale * y_t * inverse;
      const double of_y =
          -scale * (y_dt + dy_t) - scale_change * y_t - of_y_change * y_dx;
      const double all_factors[] = {scale, scale_change, of_y_change, of_y};
      for (int f = 0; f < 4; ++f) factors[f * c + k] = T(all_factors[f]);
      weight_back_change[e * c + k] = T(w.pixels * (y_dt + dy_t));
    }
    combine(pool, arrays, means, normal, factors, x_back_change + e * w.size());
  }
}

}  // namespace darts
