// ReLU, depthwise and pointwise convolution as one pass over memory: forward with the
// moments of the outputs, its change along tangents, and backward.
//
// What lies between, a row or an image, stays in the nearest caches. Nothing of it is kept
// for the backward pass, which makes it again.
#ifndef DARTS_JAX_SEPARABLE_H_
#define DARTS_JAX_SEPARABLE_H_

#include "convolution.h"
#include "depthwise.h"
#include "sums.h"

namespace darts {

// Arrays of all edges: x [edge, batch, height, width, in], depthwise kernels
// [edge, *taps, in], pointwise kernels [edge, 1, 1, in, out].
template <class T>
struct Separable {
  const T* x;
  const T* depthwise;
  const T* pointwise;
  int64_t edges, batch, from, to;
  Window window;
};

// Where tangents of these arrays lie.
template <class T>
struct Tangents {
  const T* x;
  const T* depthwise;
  const T* pointwise;
};

// An image of outputs, or of their change along tangents, row by row: from taps
// [tap, kind, lane] and a matrix [in, padded out].
template <class T, int V>
class SeparableImage {
 public:
  SeparableImage(const Separable<T>& s, const Lanes& lanes, int64_t padded)
      : s_(s),
        lanes_(lanes),
        padded_(padded),
        down_(forward_phases(s.window.down)[0]),
        across_(forward_phases(s.window.across)[0]),
        rows_(make_rows()),
        columns_(columns_of(across_, rows_, lanes)),
        z_(row(), false) {
    sum_.columns = &columns_;
  }
  SeparableImage(const SeparableImage&) = delete;

  void begin(const T* x) { rows_.begin(x, x); }

  void outputs(const T* x, const T* taps, const T* matrix, T* y) {
    begin(x);
    for (int64_t r = 0; r < s_.window.down.output; ++r) {
      const Product<T> product{depthwise_row(r, taps), matrix};
      pointwise_row(&product, 1, r, y);
    }
  }

  // Row r of the change of what lies between the convolutions, into `change`; the rows
  // of x's change are gated by x.
  void change_row(int64_t r, Rows<T>& changes, const T* taps, const T* taps_change,
                  T* change) {
    sum_.rows.clear();
    see(down_, r, rows_, taps_change, stride(), sum_);
    see(down_, r, changes, taps, stride(), sum_);
    sum_row(sum_, lanes_, change, row());
  }

  void change(const T* x, const T* x_change, const T* taps, const T* taps_change,
              const T* matrix, const T* matrix_change, T* y) {
    Rows<T> changes = make_rows();
    Buffer<T> change(row(), false);
    begin(x);
    changes.begin(x_change, x);
    for (int64_t r = 0; r < s_.window.down.output; ++r) {
      change_row(r, changes, taps, taps_change, change.get());
      const Product<T> products[] = {{change.get(), matrix},
                                     {depthwise_row(r, taps), matrix_change}};
      pointwise_row(products, 2, r, y);
    }
  }

  // Row r of what lies between the convolutions; valid until the next.
  const T* depthwise_row(int64_t r, const T* taps) {
    sum_.rows.clear();
    see(down_, r, rows_, taps, stride(), sum_);
    sum_row(sum_, lanes_, z_.get(), row());
    return z_.get();
  }

  Rows<T> make_rows() const {
    const int64_t width = s_.window.across.image;
    return Rows<T>(s_.window.down.image, width, s_.from, Margin({across_}, width),
                   across_.step, rows_held({down_}), lanes_.lanes);
  }

  int64_t row() const { return s_.window.across.output * s_.from; }

 private:
  int64_t stride() const { return s_.window.across.kernel * lanes_.period; }

  void pointwise_row(const Product<T>* products, int64_t count, int64_t r, T* y) const {
    const int64_t width = s_.window.across.output;
    product_row<T, V>({products, count, s_.from, s_.from, padded_,
                       y + r * width * s_.to, s_.to, s_.to},
                      width);
  }

  const Separable<T> s_;
  const Lanes lanes_;
  const int64_t padded_;
  const Phase down_, across_;
  Rows<T> rows_;
  const std::vector<TapColumn> columns_;
  Buffer<T> z_;
  RowSum<T> sum_;
};

// y [edge, batch, *output, out], and its moments [edge, 2, out] relative to a guess.
template <class T>
void separable(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* guess, T* y,
               T* moments) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const Buffer<T> spread = lanes.spread(s.depthwise, s.edges * taps);
    const Buffer<T> matrices = packed(s.pointwise, s.edges, s.from, s.to, false, padded);
    Deviations<T> deviations(guess, s.edges, s.edges * s.batch, s.to);
    parallel_for(pool, s.edges * s.batch, [&](int64_t i) {
      const int64_t e = i / s.batch;
      T* image = y + i * s.window.outputs() * s.to;
      SeparableImage<T, V>(s, lanes, padded)
          .outputs(s.x + i * s.window.pixels() * s.from, spread.get() + e * taps * lanes.period,
                   matrices.get() + e * s.from * padded, image);
      deviations.add(i, e, image, s.window.outputs() * s.to);
    });
    deviations.moments(s.window.outputs() * s.batch, moments);
  });
}

// The change of y along tangents.
template <class T>
void separable_change(xla::ffi::ThreadPool& pool, const Separable<T>& s,
                      const Tangents<T>& t, T* y) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const Buffer<T> spread = lanes.spread(s.depthwise, s.edges * taps);
    const Buffer<T> spread_change = lanes.spread(t.depthwise, s.edges * taps);
    const Buffer<T> matrices = packed(s.pointwise, s.edges, s.from, s.to, false, padded);
    const Buffer<T> changes = packed(t.pointwise, s.edges, s.from, s.to, false, padded);
    parallel_for(pool, s.edges * s.batch, [&](int64_t i) {
      const int64_t image = i * s.window.pixels() * s.from;
      const int64_t tap = i / s.batch * taps * lanes.period;
      const int64_t matrix = i / s.batch * s.from * padded;
      SeparableImage<T, V>(s, lanes, padded)
          .change(s.x + image, t.x + image, spread.get() + tap, spread_change.get() + tap,
                  matrices.get() + matrix, changes.get() + matrix,
                  y + i * s.window.outputs() * s.to);
    });
  });
}

// What the ways back share, edge by edge.
template <class T, int BACK, int V>
struct SeparableBack {
  const Separable<T>& s;
  const bool of_kernels;  // whether their cotangents are wanted, or those of x alone
  const Lanes lanes{s.from, kLanes<T>};
  const int64_t taps = s.window.taps();
  const int64_t padded = round_up(s.to, V), padded_from = round_up(s.from, BACK);
  const int64_t parts = std::min(s.batch, kParts), size = s.from * padded;
  const std::vector<Phase> down = backward_phases(s.window.down);
  const std::vector<Phase> across = backward_phases(s.window.across);
  const Size output{s.window.down.output, s.window.across.output};
  Buffer<T> tap_sums{of_kernels * s.edges * parts * taps * lanes.period};
  Buffer<T> matrix_sums{of_kernels * s.edges * parts * size};

  Buffer<T> transposed(const T* pointwise) const {
    return packed(pointwise, s.edges, s.to, s.from, true, padded_from);
  }

  // Cotangents of what lies between the convolutions, of an image.
  void between(std::initializer_list<Product<T>> products, T* result) const {
    product_row<T, BACK>({products.begin(), int64_t(products.size()), s.to, s.to,
                          padded_from, result, s.from, s.from},
                         s.window.outputs());
  }

  // Adds up what the parts have summed.
  void finish(T* depthwise, T* pointwise) const {
    if (!of_kernels) return;
    std::fill_n(depthwise, s.edges * taps * s.from, T(0));
    std::fill_n(pointwise, s.edges * size / padded * s.to, T(0));
    for (int64_t p = 0; p < s.edges * parts; ++p) {
      lanes.gather(tap_sums.get() + p * taps * lanes.period, taps,
                   depthwise + p / parts * taps * s.from);
      add_narrowed(matrix_sums.get() + p * size, s.from, s.to, padded,
                   pointwise + p / parts * s.from * s.to);
    }
  }
};

// Cotangents of x and of the kernels, from g [edge, batch, *output, out]; of x alone where
// there is no place for the others.
template <class T>
void separable_back(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g, T* x,
                    T* depthwise, T* pointwise) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    SeparableBack<T, BACK, V> b{s, pointwise != nullptr};
    const Buffer<T> spread = b.lanes.spread(s.depthwise, s.edges * b.taps);
    const Buffer<T> matrices = b.transposed(s.pointwise);
    parallel_for(pool, s.edges * b.parts, [&](int64_t p) {
      const int64_t e = p / b.parts, part = p % b.parts;
      const T* taps = spread.get() + e * b.taps * b.lanes.period;
      const T* matrix = matrices.get() + e * s.to * b.padded_from;
      T* tap_sums = b.tap_sums.get() + p * b.taps * b.lanes.period;
      T* matrix_sums = b.matrix_sums.get() + p * b.size;
      SeparableImage<T, V> image(s, b.lanes, b.padded);
      Correlation<T> correlation(s.window, b.lanes);
      Buffer<T> between(s.window.outputs() * s.from, false), wide(b.output.width * b.padded);
      for (int64_t n = part * s.batch / b.parts; n < (part + 1) * s.batch / b.parts; ++n) {
        const int64_t i = e * s.batch + n;
        const T* x_image = s.x + i * s.window.pixels() * s.from;
        const T* g_image = g + i * s.window.outputs() * s.to;
        b.between({{g_image, matrix}}, between.get());
        image.begin(x_image);
        correlation.rows().begin(x_image, x_image);
        for (int64_t r = 0; b.of_kernels && r < b.output.height; ++r) {
          const T* g_row = widened(g_image + r * b.output.width * s.to, b.output.width,
                                   s.to, b.padded, wide);
          outer<T, V>(image.depthwise_row(r, taps), s.from, s.from, g_row, b.output.width,
                      matrix_sums, b.padded);
          correlation.add(r, between.get() + r * image.row(), tap_sums);
        }
        T* x_back = x + i * s.window.pixels() * s.from;
        depthwise_image<T>({{between.get(), taps}}, b.output, b.down, b.across,
                           s.window.across.kernel, b.lanes, x_back,
                           s.window.across.image);
        copy_gated(x_back, x_image, s.window.pixels() * s.from, x_back);
      }
    });
    b.finish(depthwise, pointwise);
  });
}

// How these change along tangents of g, of x and of the kernels.
template <class T>
void separable_back_change(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g,
                           const T* g_change, const Tangents<T>& t, T* x, T* depthwise,
                           T* pointwise) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    SeparableBack<T, BACK, V> b{s, pointwise != nullptr};
    const Buffer<T> spread = b.lanes.spread(s.depthwise, s.edges * b.taps);
    const Buffer<T> spread_change = b.lanes.spread(t.depthwise, s.edges * b.taps);
    const Buffer<T> matrices = b.transposed(s.pointwise);
    const Buffer<T> matrix_changes = b.transposed(t.pointwise);
    parallel_for(pool, s.edges * b.parts, [&](int64_t p) {
      const int64_t e = p / b.parts, part = p % b.parts;
      const T* taps = spread.get() + e * b.taps * b.lanes.period;
      const T* taps_change = spread_change.get() + e * b.taps * b.lanes.period;
      const T* matrix = matrices.get() + e * s.to * b.padded_from;
      const T* matrix_change = matrix_changes.get() + e * s.to * b.padded_from;
      T* tap_sums = b.tap_sums.get() + p * b.taps * b.lanes.period;
      T* matrix_sums = b.matrix_sums.get() + p * b.size;
      SeparableImage<T, V> image(s, b.lanes, b.padded);
      Rows<T> moved = image.make_rows();
      Correlation<T> fixed(s.window, b.lanes), moving(s.window, b.lanes);
      Buffer<T> between(s.window.outputs() * s.from, false), change(s.window.outputs() * s.from, false);
      Buffer<T> z_change(image.row(), false), wide(b.output.width * b.padded);
      for (int64_t n = part * s.batch / b.parts; n < (part + 1) * s.batch / b.parts; ++n) {
        const int64_t i = e * s.batch + n;
        const T* x_image = s.x + i * s.window.pixels() * s.from;
        const T* x_moved = t.x + i * s.window.pixels() * s.from;
        const T* g_image = g + i * s.window.outputs() * s.to;
        const T* g_moved = g_change + i * s.window.outputs() * s.to;
        b.between({{g_image, matrix}}, between.get());
        b.between({{g_moved, matrix}, {g_image, matrix_change}}, change.get());
        image.begin(x_image);
        moved.begin(x_moved, x_image);
        fixed.rows().begin(x_image, x_image);
        moving.rows().begin(x_moved, x_image);
        for (int64_t r = 0; b.of_kernels && r < b.output.height; ++r) {
          const int64_t at = r * b.output.width * s.to;
          const auto add_outer = [&](const T* z, const T* g_row) {
            const T* row = widened(g_row + at, b.output.width, s.to, b.padded, wide);
            outer<T, V>(z, s.from, s.from, row, b.output.width, matrix_sums, b.padded);
          };
          add_outer(image.depthwise_row(r, taps), g_moved);
          image.change_row(r, moved, taps, taps_change, z_change.get());
          add_outer(z_change.get(), g_image);
          fixed.add(r, change.get() + r * image.row(), tap_sums);
          moving.add(r, between.get() + r * image.row(), tap_sums);
        }
        T* x_back = x + i * s.window.pixels() * s.from;
        depthwise_image<T>({{change.get(), taps}, {between.get(), taps_change}}, b.output,
                           b.down, b.across, s.window.across.kernel, b.lanes, x_back,
                           s.window.across.image);
        copy_gated(x_back, x_image, s.window.pixels() * s.from, x_back);
      }
    });
    b.finish(depthwise, pointwise);
  });
}

}  // namespace darts

#endif  // DARTS_JAX_SEPARABLE_H_
