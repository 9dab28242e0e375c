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

// Arrays of all edges: x [group, batch, height, width, in], depthwise kernels
// [edge, *taps, in], pointwise kernels [edge, 1, 1, in, out].
template <class T>
struct Separable {
  const T* x;
  const T* depthwise;
  const T* pointwise;
  Edges edges;
  int64_t batch, from, to;
  Window window;

  int64_t image() const { return window.pixels() * from; }
  int64_t output() const { return window.outputs() * to; }
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
    sum_.clear();
    see(down_, r, rows_, taps_change, stride(), sum_);
    see(down_, r, changes, taps, stride(), sum_);
    sum_row(sum_, lanes_, change, row());
  }

  // Row r of what lies between the convolutions; valid until the next.
  const T* depthwise_row(int64_t r, const T* taps) {
    sum_.clear();
    see(down_, r, rows_, taps, stride(), sum_);
    sum_row(sum_, lanes_, z_.get(), row());
    return z_.get();
  }

  // Row r of the sum of products.
  void pointwise_row(const Product<T>* products, int64_t count, int64_t r, T* y) const {
    const int64_t width = s_.window.across.output;
    product_row<T, V>({products, count, s_.from, s_.from, padded_,
                       y + r * width * s_.to, s_.to, s_.to},
                      width);
  }

  Rows<T> make_rows() const {
    const int64_t width = s_.window.across.image;
    return Rows<T>(s_.window.down.image, width, s_.from, Margin({across_}, width),
                   across_.step, rows_held({down_}), lanes_.lanes);
  }

  int64_t row() const { return s_.window.across.output * s_.from; }

 private:
  int64_t stride() const { return s_.window.across.kernel * lanes_.period; }

  const Separable<T> s_;
  const Lanes lanes_;
  const int64_t padded_;
  const Phase down_, across_;
  Rows<T> rows_;
  const std::vector<TapColumn> columns_;
  Buffer<T> z_;
  RowSum<T> sum_;
};

// An image of outputs' change along tangents.
template <class T, int V>
class MovingImage {
 public:
  MovingImage(const Separable<T>& s, const Lanes& lanes, int64_t padded)
      : rows_(s.window.down.output),
        image_(s, lanes, padded),
        moved_(image_.make_rows()),
        change_(image_.row(), false) {}

  // The change; and the outputs, where there is a place for them.
  void outputs(const T* x, const T* x_change, const T* taps, const T* taps_change,
               const T* matrix, const T* matrix_change, T* y_change, T* y) {
    image_.begin(x);
    moved_.begin(x_change, x);
    for (int64_t r = 0; r < rows_; ++r) {
      image_.change_row(r, moved_, taps, taps_change, change_.get());
      const T* z = image_.depthwise_row(r, taps);
      const Product<T> products[] = {{change_.get(), matrix}, {z, matrix_change}};
      image_.pointwise_row(products, 2, r, y_change);
      const Product<T> product{z, matrix};
      if (y) image_.pointwise_row(&product, 1, r, y);
    }
  }

 private:
  const int64_t rows_;
  SeparableImage<T, V> image_;
  Rows<T> moved_;
  Buffer<T> change_;
};

// y [edge, batch, *output, out], and its moments [edge, 2, out] relative to a guess.
template <class T>
void separable(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* guess, T* y,
               T* moments) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const int64_t edges = s.edges.count;
    const Buffer<T> spread = lanes.spread(s.depthwise, edges * taps);
    const Buffer<T> matrices = packed(pool, s.pointwise, edges, s.from, s.to, false, padded);
    Deviations<T> deviations(guess, edges, edges * s.batch, s.to);
    const auto make = [&] { return SeparableImage<T, V>(s, lanes, padded); };
    parallel_for(pool, edges * s.batch, make, [&](auto& image, int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      T* out = y + at.output * s.output();
      image.outputs(s.x + at.image * s.image(),
                    spread.get() + at.edge * taps * lanes.period,
                    matrices.get() + at.edge * s.from * padded, out);
      deviations.add(at.output, at.edge, out, s.output());
    });
    deviations.moments(s.window.outputs() * s.batch, moments);
  });
}

// Outputs and their moments, where they are wanted beside a change.
template <class T>
struct Beside {
  const T* guess = nullptr;
  T* y = nullptr;
  T* moments = nullptr;
};

// The change of y along tangents. What lies between the convolutions is made once for it
// and for y.
template <class T>
void separable_change(xla::ffi::ThreadPool& pool, const Separable<T>& s,
                      const Tangents<T>& t, T* y_change, const Beside<T>& beside = {}) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const int64_t edges = s.edges.count;
    const Buffer<T> spread = lanes.spread(s.depthwise, edges * taps);
    const Buffer<T> spread_change = lanes.spread(t.depthwise, edges * taps);
    const Buffer<T> matrices = packed(pool, s.pointwise, edges, s.from, s.to, false, padded);
    const Buffer<T> changes = packed(pool, t.pointwise, edges, s.from, s.to, false, padded);
    std::optional<Deviations<T>> deviations;
    if (beside.y) deviations.emplace(beside.guess, edges, edges * s.batch, s.to);
    const auto make = [&] { return MovingImage<T, V>(s, lanes, padded); };
    parallel_for(pool, edges * s.batch, make, [&](auto& moving, int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      const int64_t image = at.image * s.image(), output = at.output * s.output();
      const int64_t tap = at.edge * taps * lanes.period;
      const int64_t matrix = at.edge * s.from * padded;
      T* y = beside.y ? beside.y + output : nullptr;
      moving.outputs(s.x + image, t.x + image, spread.get() + tap,
                     spread_change.get() + tap, matrices.get() + matrix,
                     changes.get() + matrix, y_change + output, y);
      if (y) deviations->add(at.output, at.edge, y, s.output());
    });
    if (beside.y) deviations->moments(s.window.outputs() * s.batch, beside.moments);
  });
}

// What the ways back share.
template <class T, int BACK, int V>
struct SeparableBack {
  const Separable<T>& s;
  const bool of_kernels;  // whether their cotangents are wanted, or those of x alone
  const int64_t edges = s.edges.count, sharing = s.edges.sharing;
  const Lanes lanes{s.from, kLanes<T>};
  const int64_t taps = s.window.taps();
  const int64_t padded = round_up(s.to, V), padded_from = round_up(s.from, BACK);
  const int64_t parts = std::min(s.batch, kParts), size = s.from * padded;
  const std::vector<Phase> down = backward_phases(s.window.down);
  const std::vector<Phase> across = backward_phases(s.window.across);
  const Size output{s.window.down.output, s.window.across.output};
  Buffer<T> tap_sums{of_kernels * edges * parts * taps * lanes.period};
  Buffer<T> matrix_sums{of_kernels * edges * parts * size};

  Buffer<T> spread(const T* depthwise) const {
    return lanes.spread(depthwise, edges * taps);
  }
  Buffer<T> transposed(xla::ffi::ThreadPool& pool, const T* pointwise) const {
    return packed(pool, pointwise, edges, s.to, s.from, true, padded_from);
  }

  // An edge's part of arrays [edge, ...], and of sums [edge, part, ...].
  const T* taps_of(const Buffer<T>& spread, int64_t e) const {
    return spread.get() + e * taps * lanes.period;
  }
  const T* matrix_of(const Buffer<T>& transposed, int64_t e) const {
    return transposed.get() + e * s.to * padded_from;
  }
  const T* image_of(const T* g, int64_t e, int64_t n) const {
    return g + (e * s.batch + n) * s.output();
  }
  T* tap_sums_of(int64_t e, int64_t part) const {
    return tap_sums.get() + (e * parts + part) * taps * lanes.period;
  }
  T* matrix_sums_of(int64_t e, int64_t part) const {
    return matrix_sums.get() + (e * parts + part) * size;
  }

  // How many lie between the convolutions of an edge and an image.
  int64_t numbers_between() const { return s.window.outputs() * s.from; }

  // Cotangents of that. Rows are asked for ahead, and behind the last those of the image
  // that follows: products read pixels out of order.
  void between(std::initializer_list<Product<T>> products, T* result) const {
    const int64_t read = output.width * s.to, rows = output.height;
    std::vector<Product<T>> of_row(products);
    for (int64_t r = 0; r < rows; ++r) {
      for (Product<T>& product : of_row) {
        if (r > 0) product.pixels += read;
        prefetch(product.pixels + 2 * read, read);
      }
      product_row<T, BACK>({of_row.data(), int64_t(of_row.size()), s.to, s.to, padded_from,
                            result + r * output.width * s.from, s.from, s.from},
                           output.width);
    }
  }

  // Calls work(first edge of a group, part, image's number among all, its number n).
  template <class Work>
  void for_images(int64_t p, const Work& work) const {
    const int64_t group = p / parts, part = p % parts;
    for (int64_t n = part * s.batch / parts; n < (part + 1) * s.batch / parts; ++n)
      work(group * sharing, part, group * s.batch + n, n);
  }

  // From so many images of what lies between to the image that all of them read.
  DepthwiseMap<T> reached(int64_t images) const {
    return {images, output,          down, across, s.window.across.kernel,
            lanes,  s.window.across.image};
  }

  // What reached it, gated.
  void finish_image(DepthwiseMap<T>& map, const std::vector<Tapped<T>>& from, const T* x,
                    T* x_back) const {
    map.image(from, x_back);
    copy_gated(x_back, x, s.image(), x_back);
  }

  // Adds up what the parts have summed.
  void finish(T* depthwise, T* pointwise) const {
    if (!of_kernels) return;
    std::fill_n(depthwise, edges * taps * s.from, T(0));
    for (int64_t p = 0; p < edges * parts; ++p)
      lanes.gather(tap_sums.get() + p * taps * lanes.period, taps,
                   depthwise + p / parts * taps * s.from);
    for (int64_t e = 0; e < edges; ++e)
      narrow(added_up(matrix_sums.get() + e * parts * size, parts, size), s.from, s.to,
             padded, pointwise + e * s.from * s.to);
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
    const Buffer<T> spread = b.spread(s.depthwise), matrices = b.transposed(pool, s.pointwise);
    parallel_for(pool, s.edges.groups() * b.parts, [&](int64_t p) {
      SeparableImage<T, V> image(s, b.lanes, b.padded);
      Correlation<T> correlation(s.window, b.lanes);
      Buffer<T> all(b.sharing * b.numbers_between(), false);
      Buffer<T> wide(b.output.width * b.padded);
      DepthwiseMap<T> map = b.reached(b.sharing);
      std::vector<Tapped<T>> reaching;
      b.for_images(p, [&](int64_t first, int64_t part, int64_t i, int64_t n) {
        const T* x_image = s.x + i * s.image();
        reaching.clear();
        for (int64_t e = first; e < first + b.sharing; ++e) {
          const T *taps = b.taps_of(spread, e), *g_image = b.image_of(g, e, n);
          T* between = all.get() + (e - first) * b.numbers_between();
          b.between({{g_image, b.matrix_of(matrices, e)}}, between);
          reaching.push_back({between, taps});
          if (!b.of_kernels) continue;
          image.begin(x_image);
          correlation.rows().begin(x_image, x_image);
          for (int64_t r = 0; r < b.output.height; ++r) {
            const T* g_row = widened(g_image + r * b.output.width * s.to, b.output.width,
                                     s.to, b.padded, wide);
            outer<T, V>(image.depthwise_row(r, taps), s.from, s.from, g_row,
                        b.output.width, b.matrix_sums_of(e, part), b.padded);
            correlation.add(r, between + r * image.row(), b.tap_sums_of(e, part));
          }
        }
        b.finish_image(map, reaching, x_image, x + i * s.image());
      });
    });
    b.finish(depthwise, pointwise);
  });
}

// How these change along tangents of g, of x and of the kernels; and the cotangent of x
// itself, where there is a place for it.
template <class T>
void separable_back_change(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g,
                           const T* g_change, const Tangents<T>& t, T* x, T* depthwise,
                           T* pointwise, T* x_itself = nullptr) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    SeparableBack<T, BACK, V> b{s, pointwise != nullptr};
    const Buffer<T> spread = b.spread(s.depthwise), matrices = b.transposed(pool, s.pointwise);
    const Buffer<T> spread_change = b.spread(t.depthwise);
    const Buffer<T> matrix_changes = b.transposed(pool, t.pointwise);
    parallel_for(pool, s.edges.groups() * b.parts, [&](int64_t p) {
      SeparableImage<T, V> image(s, b.lanes, b.padded);
      Rows<T> moved = image.make_rows();
      Correlation<T> fixed(s.window, b.lanes), moving(s.window, b.lanes);
      Buffer<T> all(2 * b.sharing * b.numbers_between(), false);
      Buffer<T> z_change(image.row(), false), wide(b.output.width * b.padded);
      DepthwiseMap<T> map = b.reached(2 * b.sharing), one = b.reached(b.sharing);
      std::vector<Tapped<T>> reaching, unmoved;
      b.for_images(p, [&](int64_t first, int64_t part, int64_t i, int64_t n) {
        const T *x_image = s.x + i * s.image(), *x_moved = t.x + i * s.image();
        reaching.clear(), unmoved.clear();
        for (int64_t e = first; e < first + b.sharing; ++e) {
          const T *taps = b.taps_of(spread, e), *taps_change = b.taps_of(spread_change, e);
          const T *matrix = b.matrix_of(matrices, e);
          const T *g_image = b.image_of(g, e, n), *g_moved = b.image_of(g_change, e, n);
          T* between = all.get() + 2 * (e - first) * b.numbers_between();
          T* change = between + b.numbers_between();
          b.between({{g_image, matrix}}, between);
          b.between({{g_moved, matrix}, {g_image, b.matrix_of(matrix_changes, e)}}, change);
          reaching.push_back({change, taps});
          reaching.push_back({between, taps_change});
          unmoved.push_back({between, taps});
          if (!b.of_kernels) continue;
          image.begin(x_image);
          moved.begin(x_moved, x_image);
          fixed.rows().begin(x_image, x_image);
          moving.rows().begin(x_moved, x_image);
          for (int64_t r = 0; r < b.output.height; ++r) {
            const int64_t at = r * b.output.width * s.to;
            const auto add_outer = [&](const T* z, const T* g_rows) {
              const T* row = widened(g_rows + at, b.output.width, s.to, b.padded, wide);
              outer<T, V>(z, s.from, s.from, row, b.output.width,
                          b.matrix_sums_of(e, part), b.padded);
            };
            add_outer(image.depthwise_row(r, taps), g_moved);
            image.change_row(r, moved, taps, taps_change, z_change.get());
            add_outer(z_change.get(), g_image);
            fixed.add(r, change + r * image.row(), b.tap_sums_of(e, part));
            moving.add(r, between + r * image.row(), b.tap_sums_of(e, part));
          }
        }
        b.finish_image(map, reaching, x_image, x + i * s.image());
        if (x_itself) b.finish_image(one, unmoved, x_image, x_itself + i * s.image());
      });
    });
    b.finish(depthwise, pointwise);
  });
}

}  // namespace darts

#endif  // DARTS_JAX_SEPARABLE_H_
