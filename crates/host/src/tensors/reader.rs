//! Reading requests, for the fuzzer.

use super::read;
use zkinfer::interface::Interface;

/// Reads requests about one model: all that is done with a request before the model runs. For the fuzzer.
#[derive(Debug)]
pub struct RequestReader(Interface);

impl RequestReader {
    /// Of the model with this interface.
    pub fn new(interface: Interface) -> RequestReader {
        RequestReader(interface)
    }

    /// The inputs in a body whose JSON part is so long, or the code of the problem with it.
    pub fn read(&self, body: &[u8], header: Option<usize>) -> Result<Vec<Vec<f32>>, &'static str> {
        let (request, binary) = read(body, header).map_err(|problem| problem.code)?;
        let wanted = request.wanted(&self.0.outputs);
        wanted.map_err(|problem| problem.code)?;
        let inputs = request.inputs(&self.0.inputs, binary);
        inputs.map_err(|problem| problem.code)
    }
}
